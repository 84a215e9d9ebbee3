import Primitives

/// Mutations that a node missed.
public struct Hint: Sendable, Equatable {
    /// What is to be applied there, in the format of `MutationWriter`.
    public var mutations: [UInt8]
    /// When they were written, in seconds since 1970.
    public var createdAt: UInt32
    /// How long they may be replayed: the smallest `gc_grace_seconds` of their tables.
    public var graceSeconds: UInt32

    public init(mutations: [UInt8], createdAt: UInt32, graceSeconds: UInt32) {
        self.mutations = mutations
        self.createdAt = createdAt
        self.graceSeconds = graceSeconds
    }

    /// Whether replaying it could bring back what was deleted since: a tombstone that is as old may be gone by now.
    static func isExpired(createdAt: UInt32, graceSeconds: UInt32, now: UInt32) -> Bool {
        UInt64(createdAt) + UInt64(graceSeconds) <= UInt64(now)
    }
}

/// A place in the hints of one target.
public struct HintPosition: Comparable, Sendable, Hashable {
    public var segment: UInt64
    /// Bytes from the segment's start; `Int.max` when the segment is done.
    public var offset: Int

    public init(segment: UInt64, offset: Int) {
        self.segment = segment
        self.offset = offset
    }

    public static func < (a: HintPosition, b: HintPosition) -> Bool {
        a.segment != b.segment ? a.segment < b.segment : a.offset < b.offset
    }
}

/// Hints of one target, in the order they were kept.
public struct HintBatch: Sendable, Equatable {
    public var hints: [Hint]
    /// What to acknowledge when all of them were delivered.
    public var end: HintPosition

    public init(hints: [Hint], end: HintPosition) {
        self.hints = hints
        self.end = end
    }

    /// Bytes of their mutations.
    public var byteCount: Int { hints.reduce(0) { $0 + $1.mutations.count } }
}

/// What waits for one node.
public struct HintTarget: Sendable, Equatable {
    public var id: UUID
    /// Bytes not acknowledged yet, in files and in memory.
    public var bytes: Int
    /// When the oldest of them was written, in seconds since 1970.
    public var oldest: UInt32
}

/// From when to when a node missed writes for which there are no hints: it needs a repair.
public struct HintOverflow: Sendable, Equatable {
    /// Seconds since 1970.
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

/// What was done with hints since the start.
public struct HintCounters: Sendable, Equatable {
    /// Hints taken by `add`.
    public var kept = 0
    /// Hints that reached a file, and their bytes there.
    public var written = 0
    public var writtenBytes = 0
    /// Hints acknowledged, and the bytes of their mutations.
    public var replayed = 0
    public var replayedBytes = 0
    /// Hints dropped at replay since they were older than their grace.
    public var expired = 0
    /// Hints not taken: a limit, or the window.
    public var refused = 0
    /// Places in segments that were damaged.
    public var damaged = 0

    public init() {}
}

/// What the store has to tell the server's log.
public enum HintStoreEvent: Sendable, Equatable {
    /// No more hints are kept for a node, for now: it needs a repair.
    case overflowed(UUID, reason: String)
    case damaged(path: String, offset: Int, String)
    /// A segment of another version of the format; it is left alone.
    case unknownVersion(path: String, found: UInt32)
    case failed(String)

    /// One line.
    public var text: String {
        switch self {
        case .overflowed(let target, let reason): "keeps no hint for \(target), which will need a repair: \(reason)"
        case .damaged(let path, let offset, let what): "\(path) is damaged at byte \(offset): \(what); its node will need a repair"
        case .unknownVersion(let path, let found):
            "\(path) has version \(found) of the format, and this server reads version \(HintFormat.version); it is left alone"
        case .failed(let what): what
        }
    }
}
