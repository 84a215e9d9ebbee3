import Primitives

/// Mutations that a node missed.
public struct Hint: Sendable, Equatable {
    /// The mutations to apply on the target node, in the format of `MutationWriter`.
    public var mutations: [UInt8]
    /// When the mutations were written, in seconds since 1970.
    public var createdAt: UInt32
    /// How long the hint may be replayed, in seconds: the smallest `gc_grace_seconds` of its tables.
    public var graceSeconds: UInt32

    public init(mutations: [UInt8], createdAt: UInt32, graceSeconds: UInt32) {
        self.mutations = mutations
        self.createdAt = createdAt
        self.graceSeconds = graceSeconds
    }

    /// Whether the hint is too old to replay: a tombstone written since may already be purged, and the hint would
    /// resurrect the data it deleted.
    static func isExpired(createdAt: UInt32, graceSeconds: UInt32, now: UInt32) -> Bool {
        UInt64(createdAt) + UInt64(graceSeconds) <= UInt64(now)
    }
}

/// A position in the hints of one target.
public struct HintPosition: Comparable, Sendable, Hashable {
    public var segment: UInt64
    /// The offset in the segment's file, in bytes; `Int.max` when the segment is done.
    public var offset: Int

    public init(segment: UInt64, offset: Int) {
        self.segment = segment
        self.offset = offset
    }

    public static func < (a: HintPosition, b: HintPosition) -> Bool {
        a.segment != b.segment ? a.segment < b.segment : a.offset < b.offset
    }
}

/// Hints of one target, in the order they were added.
public struct HintBatch: Sendable, Equatable {
    public var hints: [Hint]
    /// The position to acknowledge once all hints are delivered.
    public var end: HintPosition

    public init(hints: [Hint], end: HintPosition) {
        self.hints = hints
        self.end = end
    }

    /// The total bytes of the mutations.
    public var byteCount: Int { hints.reduce(0) { $0 + $1.mutations.count } }
}

/// The hints waiting for one node.
public struct HintTarget: Sendable, Equatable {
    public var id: UUID
    /// Bytes not acknowledged yet, in files and in memory.
    public var bytes: Int
    /// When the oldest hint was written, in seconds since 1970.
    public var oldest: UInt32
}

/// The time span in which a node missed writes without a hint being stored: the node needs a repair.
public struct HintOverflow: Sendable, Equatable {
    /// Both in seconds since 1970.
    public var first: UInt32
    public var last: UInt32

    public init(first: UInt32, last: UInt32) {
        self.first = first
        self.last = last
    }

    mutating func include(_ other: HintOverflow) {
        first = min(first, other.first)
        last = max(last, other.last)
    }
}

/// Hint counters since the start of the process.
public struct HintCounters: Sendable, Equatable {
    /// Hints accepted by `add`.
    public var kept = 0
    /// Hints written to files, and their bytes there.
    public var written = 0
    public var writtenBytes = 0
    /// Hints acknowledged, and the bytes of their mutations.
    public var replayed = 0
    public var replayedBytes = 0
    /// Hints dropped at replay because they were older than their grace period.
    public var expired = 0
    /// Hints refused because of a limit or the hint window.
    public var refused = 0
    /// Damaged places found in segments.
    public var damaged = 0

    public init() {}
}

/// Events of the hint store, for the server's log.
public enum HintStoreEvent: Sendable, Equatable {
    /// Hints for a node are being refused: it needs a repair.
    case overflowed(UUID, reason: String)
    case damaged(path: String, offset: Int, String)
    /// A segment has an unknown format version and is left alone.
    case unknownVersion(path: String, found: UInt32)
    case failed(String)

    /// The event as one log line.
    public var text: String {
        switch self {
        case .overflowed(let target, let reason):
            "a hint for \(target) was refused and the node will need a repair: \(reason)"
        case .damaged(let path, let offset, let what):
            "\(path) is damaged at byte \(offset): \(what); the target node will need a repair"
        case .unknownVersion(let path, let found):
            "\(path) has version \(found) of the format, and this server reads version \(HintFormat.version); it is left alone"
        case .failed(let what): what
        }
    }
}
