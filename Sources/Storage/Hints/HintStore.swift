import Platform
import Primitives
import Synchronization

/// Limits of the hint store.
public struct HintStoreOptions: Sendable {
    /// The size of a segment file, in bytes. The mutations of one hint may take almost half of it.
    public var fileBytes = 128 << 20
    /// The limit for one target's files and memory, in bytes.
    public var targetBytes = 1 << 30
    /// The limit for all targets' files and memory, in bytes.
    public var totalBytes = 1 << 30
    /// The limit for unwritten hints in memory, in bytes; beyond it hints are refused.
    public var bufferedBytes = 32 << 20
    /// How long hints are stored for a node that stays down (`max_hint_window`), in seconds.
    public var windowSeconds: UInt32 = 3 * 3600

    public init() {}
}

/// Stores mutations for the nodes that missed them.
///
/// 1. `add` copies mutations into memory. When a limit or the hint window is exceeded, it refuses them and marks the
///    target as needing a repair.
/// 2. `flush` passes added hints to the kernel, so that they survive the end of the process. `sync` also waits for the
///    disk, writes position and overflow files, and removes acknowledged segments. The owner calls `sync` at least
///    every ten seconds on a thread that may block.
/// 3. A target's hints are a series of segment files, of which one is being written. It is sealed, and never written
///    again, when it is full, when a replay begins, and on `close`. So a replay reads only complete, synced files;
///    hints added meanwhile go to a new one.
/// 4. `reader(for:)` returns the waiting hints in order, without acknowledged ones. `sync` saves how far a segment is
///    acknowledged in a small file beside it: after a crash the replay starts at the last saved position and repeats a
///    little, which is harmless because mutations are idempotent.
/// 5. The next `sync` removes a segment that is acknowledged to its end.
///
/// Segment numbers are milliseconds since 1970, or the last number plus one. They are never reused, so a position
/// cannot refer to a wrong segment.
///
/// **Thread safety**: all methods, from any thread. `add`, `needsRepair`, `isWithinWindow`, `targets`, `counters` and a
/// reader's `acknowledge` do not touch the disk. Lock order: `files`, a reader's locks, `state`. The observer may be
/// called with `files` held and must not call the store.
public final class HintStore: Sendable {
    /// The in-memory state of one segment.
    struct Segment {
        var number: UInt64
        /// The size of the file, in bytes.
        var fileBytes: Int
        var oldest: UInt32
        /// The offset up to which it is acknowledged; `Int.max` when it is done.
        var acknowledged = 0
        /// The offset in its position file; 0 when there is no file.
        var savedPosition = 0

        var isDone: Bool { acknowledged == Int.max }
        var waitingBytes: Int { isDone ? 0 : max(0, fileBytes - acknowledged) }
    }

    /// The state of one target.
    struct Series {
        /// Encoded records that wait to be written.
        var pending: [UInt8] = []
        /// Bytes of records taken from `pending` that are not in a file yet.
        var writingBytes = 0
        /// When the oldest hint of both was written.
        var bufferedOldest = UInt32.max
        /// Oldest first.
        var segments: [Segment] = []
        var overflow: HintOverflow?
        var isOverflowSaved = true

        var bufferedBytes: Int { pending.count + writingBytes }
        var storedBytes: Int { segments.reduce(bufferedBytes) { $0 + $1.fileBytes } }
        var waitingBytes: Int { segments.reduce(bufferedBytes) { $0 + $1.waitingBytes } }
        var oldest: UInt32 { segments.reduce(bufferedOldest) { $1.isDone ? $0 : min($0, $1.oldest) } }
        var isEmpty: Bool {
            pending.isEmpty && writingBytes == 0 && segments.isEmpty && overflow == nil && isOverflowSaved
        }
    }

    struct State {
        var series: [UUID: Series] = [:]
        var bufferedBytes = 0
        /// Bytes of files and memory, of all targets.
        var storedBytes = 0
        var counters = HintCounters()
        var isClosed = false
    }

    /// A target's current segment.
    struct OpenSegment {
        var file: any File
        var number: UInt64
        /// The offset of the next write, in bytes.
        var offset = 0
        var hasUnsynced = false
    }

    /// The segments being written; guarded by the lock `files`.
    struct Files {
        var open: [UUID: OpenSegment] = [:]
        /// Records taken from memory that a failed write has not written yet.
        var unwritten: [UUID: [UInt8]] = [:]
        var lastNumber: UInt64 = 0
        /// Whether files were created or removed since the directory was last synced.
        var isDirectoryChanged = false
    }

    let system: any FileSystem
    let time: any TimeSource
    public let directory: String
    public let options: HintStoreOptions
    let observer: @Sendable (HintStoreEvent) -> Void
    let state: Mutex<State>
    let files: Mutex<Files>

    /// Opens the directory, created if missing.
    /// - Parameters:
    ///   - directory: `hints` in the data directory; used by this store only.
    ///   - observer: called with events for the server's log.
    /// - Throws: `file` when the directory cannot be read, or when files left unsynced by a killed process cannot be
    ///   synced.
    public init(
        system: any FileSystem, time: any TimeSource, directory: String, options: HintStoreOptions = HintStoreOptions(),
        observer: @escaping @Sendable (HintStoreEvent) -> Void = { _ in }
    ) throws(StorageError) {
        precondition(
            (1024...2 * HintFormat.largestMutations).contains(options.fileBytes),
            "invalid hint segment size: \(options.fileBytes) bytes")
        self.system = system
        self.time = time
        self.directory = directory
        self.options = options
        self.observer = observer
        let found: (state: State, files: Files)
        do throws(FileError) {
            found = try HintStore.open(system: system, directory: directory, observer: observer)
        } catch { throw .file(error) }
        state = Mutex(found.state)
        files = Mutex(found.files)
    }

    /// The maximum size of one hint's mutations, in bytes.
    public var largestHint: Int { options.fileBytes / 2 - HintFormat.headerBytes - 2 * HintFormat.recordHeaderBytes }

    /// Adds a hint for a node. In memory only; `flush` and `sync` write.
    /// - Parameters:
    ///   - mutations: one unit that is applied as a whole; may be for several tables.
    ///   - createdAt: when they were written, in seconds since 1970.
    ///   - graceSeconds: the smallest `gc_grace_seconds` of their tables.
    ///   - downSince: since when the node has been down, in seconds since 1970; nil while it counts as up, then the
    ///     hint window does not apply.
    /// - Returns: false when a limit or the window is exceeded: the hint is refused and the target needs a repair.
    /// - Throws: `stopped` when the store is closed.
    @discardableResult public func add(
        target: UUID, mutations: UnsafeRawBufferPointer, createdAt: UInt32, graceSeconds: UInt32,
        downSince: UInt32? = nil
    ) throws(StorageError) -> Bool {
        let checksum = Checksum.xxh3(mutations)
        let bytes = HintFormat.storedCount(mutations: mutations.count)
        let outcome: (isOpen: Bool, refusal: String?, isFirst: Bool) = state.withLock { state in
            guard !state.isClosed else { return (false, nil, false) }
            let refusal = self.refusal(
                state, target, bytes: bytes, mutations: mutations.count, createdAt: createdAt, downSince: downSince)
            if let refusal {
                state.counters.refused += 1
                let isFirst = state.series[target]?.overflow == nil
                HintStore.mark(&state, target, HintOverflow(first: createdAt, last: createdAt))
                return (true, refusal, isFirst)
            }
            HintStore.change(&state.series[target, default: Series()]) { series in
                series.bufferedOldest = min(series.bufferedOldest, createdAt)
                HintFormat.appendRecord(
                    mutations, created: createdAt, grace: graceSeconds, payloadChecksum: checksum, to: &series.pending)
            }
            state.bufferedBytes += bytes
            state.storedBytes += bytes
            state.counters.kept += 1
            return (true, nil, false)
        }
        guard outcome.isOpen else { throw .stopped("the hint store is closed") }
        guard let refusal = outcome.refusal else { return true }
        if outcome.isFirst { observer(.overflowed(target, reason: refusal)) }
        return false
    }

    /// Returns why a hint is refused; nil when it is accepted.
    private func refusal(
        _ state: State, _ target: UUID, bytes: Int, mutations: Int, createdAt: UInt32, downSince: UInt32?
    ) -> String? {
        if mutations > largestHint { return "its mutation of \(mutations) bytes is larger than \(largestHint)" }
        let series = state.series[target]
        if let downSince, !isWithinWindow(series, downSince: downSince, now: createdAt) {
            return "it has been down for more than \(options.windowSeconds) seconds"
        }
        if options.targetBytes - (series?.storedBytes ?? 0) < bytes {
            return "its hints have reached \(options.targetBytes) bytes"
        }
        if options.totalBytes - state.storedBytes < bytes {
            return "all hints have reached \(options.totalBytes) bytes"
        }
        if options.bufferedBytes - state.bufferedBytes < bytes {
            return "\(options.bufferedBytes) bytes of hints are waiting to be written"
        }
        return nil
    }

    /// Whether hints are still stored for a node that has been down since `downSince`.
    ///
    /// The window starts at the creation of the oldest waiting hint if that is earlier, so that a restart of this node
    /// does not start the window anew.
    /// - Parameters:
    ///   - downSince: seconds since 1970.
    ///   - now: seconds since 1970.
    public func isWithinWindow(_ target: UUID, downSince: UInt32, now: UInt32) -> Bool {
        state.withLock { isWithinWindow($0.series[target], downSince: downSince, now: now) }
    }

    private func isWithinWindow(_ series: Series?, downSince: UInt32, now: UInt32) -> Bool {
        let since = min(downSince, series?.oldest ?? .max)
        return UInt64(now) <= UInt64(since) + UInt64(options.windowSeconds)
    }

    /// Mutates in place, to avoid copying the pending bytes.
    @inline(__always) private static func change(_ series: inout Series, _ body: (inout Series) -> Void) {
        body(&series)
    }

    static func mark(_ state: inout State, _ target: UUID, _ missed: HintOverflow) {
        let empty = Series()
        var overflow = state.series[target, default: empty].overflow ?? missed
        overflow.include(missed)
        guard overflow != state.series[target, default: empty].overflow else { return }
        state.series[target, default: empty].overflow = overflow
        state.series[target, default: empty].isOverflowSaved = false
    }

    /// Whether a node missed writes for which no hint was stored.
    public func needsRepair(_ target: UUID) -> Bool { overflow(of: target) != nil }

    /// Records that a hint of `created` cannot be delivered, so that the node needs a repair. In seconds since 1970.
    public func markNeedsRepair(_ target: UUID, since created: UInt32) {
        let last = max(created, time.wallSeconds())
        state.withLock { HintStore.mark(&$0, target, HintOverflow(first: created, last: last)) }
    }

    /// The time span of the writes a node missed without a hint; nil when there are none. Saved by the next `sync`.
    public func overflow(of target: UUID) -> HintOverflow? { state.withLock { $0.series[target]?.overflow } }

    /// Records that a node was repaired. Saved by the next `sync`.
    /// - Parameter time: when the repair began, in seconds since 1970: writes missed after it stay marked.
    public func clearNeedsRepair(_ target: UUID, upTo time: UInt32 = .max) {
        state.withLock { state in
            guard let overflow = state.series[target]?.overflow, overflow.first <= time else { return }
            state.series[target]?.overflow = overflow.last > time ? HintOverflow(first: time, last: overflow.last) : nil
            state.series[target]?.isOverflowSaved = false
        }
    }

    /// The nodes for which hints wait, sorted by id.
    public func targets() -> [HintTarget] {
        state.withLock { state in
            state.series.compactMap { id, series in
                guard series.bufferedBytes > 0 || series.segments.contains(where: { !$0.isDone }) else { return nil }
                return HintTarget(id: id, bytes: series.waitingBytes, oldest: series.oldest)
            }
        }.sorted { $0.id < $1.id }
    }

    /// Bytes in memory that wait to be written, so that the owner can flush early.
    public var bufferedBytes: Int { state.withLock { $0.bufferedBytes } }

    /// Bytes of all hints, in files and in memory.
    public var storedBytes: Int { state.withLock { $0.storedBytes } }

    public var counters: HintCounters { state.withLock { $0.counters } }

    func path(_ name: HintFileName) -> String { directory + "/" + name.text }

    /// Checks the accounting of all targets and traps when it is wrong; for tests.
    func checkInvariants() {
        files.withLock { files in
            state.withLock { state in
                var buffered = 0
                var stored = 0
                for (target, series) in state.series {
                    buffered += series.bufferedBytes
                    stored += series.storedBytes
                    precondition(
                        series.writingBytes == files.unwritten[target]?.count ?? 0, "\(target): bytes being written")
                    precondition(
                        zip(series.segments, series.segments.dropFirst()).allSatisfy { $0.number < $1.number },
                        "\(target): order")
                    precondition(
                        (series.bufferedOldest == .max) == (series.bufferedBytes == 0),
                        "\(target): the oldest in memory")
                    precondition(series.segments.allSatisfy { $0.number <= files.lastNumber }, "\(target): numbers")
                }
                precondition(
                    buffered == state.bufferedBytes,
                    "\(buffered) bytes are buffered, \(state.bufferedBytes) are counted")
                precondition(
                    stored == state.storedBytes, "\(stored) bytes are stored, \(state.storedBytes) are counted")
            }
        }
    }
}
