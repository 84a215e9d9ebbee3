import Platform
import Primitives
import Synchronization

/// How much is kept for nodes that miss writes.
public struct HintStoreOptions: Sendable {
    /// Bytes of a segment file. Mutations may have half of it.
    public var fileBytes = 128 << 20
    /// Bytes of files and memory for one target.
    public var targetBytes = 1 << 30
    /// Bytes of files and memory for all targets.
    public var totalBytes = 1 << 30
    /// Bytes in memory that wait to be written; beyond it hints are refused.
    public var bufferedBytes = 32 << 20
    /// Seconds after which no more hints are kept for a node that stays down.
    public var windowSeconds: UInt32 = 3 * 3600

    public init() {}
}

/// Keeps mutations for the nodes that missed them.
///
/// 1. `add` copies mutations into memory. When a limit or the window is exceeded they are not kept, and the target is marked as needing a repair.
/// 2. `flush` hands what was added to the kernel: it survives the process. `sync` does that and waits for the disk, writes positions and marks, and
///    removes what was acknowledged. The owner calls `sync` at least every ten seconds on a thread that may wait.
/// 3. A target's hints are a series of segment files. One is written at a time; it is sealed, and never written again, when it is full, when a replay
///    begins, and at the end. So a replay meets only files that are complete and on the disk, and what is added meanwhile goes to a new one.
/// 4. `reader(for:)` gives out what is there in order; what is acknowledged is not given out again. How far a segment was acknowledged is written by
///    `sync`, in a small file beside it: after a crash the replay begins where the last `sync` knew it, and repeats a little, which changes nothing.
/// 5. A segment acknowledged to its end is removed by the next `sync`.
///
/// Numbers of segments are milliseconds since 1970 or one more than the last, and never used again: no position is taken for another segment's.
///
/// **Thread safety**: all methods, from any thread. `add`, `needsRepair`, `isWithinWindow`, `targets`, `counters` and a reader's `acknowledge` do not
/// touch the disk. Lock order: `files`, a reader's, then `state`. The observer is called with `files` held and must not call the store.
public final class HintStore: Sendable {
    /// One segment, as far as memory knows it.
    struct Segment {
        var number: UInt64
        /// Bytes in the file.
        var fileBytes: Int
        var oldest: UInt32
        /// Up to where it was acknowledged; `Int.max` when it is done.
        var acknowledged = 0
        /// What its position file says; 0 when there is none.
        var savedPosition = 0

        var isDone: Bool { acknowledged == Int.max }
        var waitingBytes: Int { isDone ? 0 : max(0, fileBytes - acknowledged) }
    }

    /// All that is known of one target.
    struct Series {
        /// Records that wait to be written, whole.
        var pending: [UInt8] = []
        /// Bytes of records taken to be written, not in a file yet.
        var writingBytes = 0
        /// The oldest of both.
        var bufferedOldest = UInt32.max
        /// Oldest first.
        var segments: [Segment] = []
        var overflow: HintOverflow?
        var isOverflowSaved = true

        var bufferedBytes: Int { pending.count + writingBytes }
        var storedBytes: Int { segments.reduce(bufferedBytes) { $0 + $1.fileBytes } }
        var waitingBytes: Int { segments.reduce(bufferedBytes) { $0 + $1.waitingBytes } }
        var oldest: UInt32 { segments.reduce(bufferedOldest) { $1.isDone ? $0 : min($0, $1.oldest) } }
        var isEmpty: Bool { pending.isEmpty && writingBytes == 0 && segments.isEmpty && overflow == nil && isOverflowSaved }
    }

    struct State {
        var series: [UUID: Series] = [:]
        var bufferedBytes = 0
        /// Bytes of files and memory.
        var storedBytes = 0
        var counters = HintCounters()
        var isClosed = false
    }

    /// The segment being written for a target.
    struct OpenSegment {
        var file: any File
        var number: UInt64
        /// Bytes written.
        var offset = 0
        var hasUnsynced = false
    }

    /// The files being written.
    struct Files {
        var open: [UUID: OpenSegment] = [:]
        /// Records taken from memory that a write did not take yet.
        var unwritten: [UUID: [UInt8]] = [:]
        var lastNumber: UInt64 = 0
        /// Whether a name was made or removed since the directory was synced.
        var isDirectoryChanged = false
    }

    let system: any FileSystem
    let time: any TimeSource
    public let directory: String
    public let options: HintStoreOptions
    let observer: @Sendable (HintStoreEvent) -> Void
    let state: Mutex<State>
    let files: Mutex<Files>

    /// Opens the directory, which is made when missing.
    /// - Parameters:
    ///   - directory: `hints` of the data directory; nobody else writes there.
    ///   - observer: told what the server's log should say.
    /// - Throws: `file` when the directory cannot be read, or what a killed process left there does not reach the disk.
    public init(
        system: any FileSystem, time: any TimeSource, directory: String, options: HintStoreOptions = HintStoreOptions(),
        observer: @escaping @Sendable (HintStoreEvent) -> Void = { _ in }
    ) throws(StorageError) {
        precondition((1024...2 * HintFormat.largestMutations).contains(options.fileBytes), "a segment of \(options.fileBytes) bytes")
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

    /// Most bytes the mutations of one hint may have.
    public var largestHint: Int { options.fileBytes / 2 - HintFormat.headerBytes - 2 * HintFormat.recordHeaderBytes }

    /// Keeps mutations for a node. In memory only: `flush` and `sync` write.
    /// - Parameters:
    ///   - mutations: one unit, applied whole there. It may be for several tables.
    ///   - createdAt: when they were written, in seconds since 1970.
    ///   - graceSeconds: the smallest `gc_grace_seconds` of their tables.
    ///   - downSince: since when the node is down, in seconds since 1970; nil while it counts as up, for then the window says nothing.
    /// - Returns: false when a limit or the window is exceeded: the hint is not kept, and the target needs a repair.
    /// - Throws: `stopped` when the store was closed.
    @discardableResult public func add(
        target: UUID, mutations: UnsafeRawBufferPointer, createdAt: UInt32, graceSeconds: UInt32, downSince: UInt32? = nil
    ) throws(StorageError) -> Bool {
        let checksum = Checksum.xxh3(mutations)
        let bytes = HintFormat.storedCount(mutations: mutations.count)
        let outcome: (isOpen: Bool, refusal: String?, isFirst: Bool) = state.withLock { state in
            guard !state.isClosed else { return (false, nil, false) }
            let refusal = self.refusal(state, target, bytes: bytes, mutations: mutations.count, createdAt: createdAt, downSince: downSince)
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
        guard outcome.isOpen else { throw .stopped("the hints were closed") }
        guard let refusal = outcome.refusal else { return true }
        if outcome.isFirst { observer(.overflowed(target, reason: refusal)) }
        return false
    }

    /// Why a hint is not kept; nil when it is.
    private func refusal(
        _ state: State, _ target: UUID, bytes: Int, mutations: Int, createdAt: UInt32, downSince: UInt32?
    ) -> String? {
        if mutations > largestHint { return "its mutation of \(mutations) bytes is larger than \(largestHint)" }
        let series = state.series[target]
        if let downSince, !isWithinWindow(series, downSince: downSince, now: createdAt) {
            return "it has been down for more than \(options.windowSeconds) seconds"
        }
        if options.targetBytes - (series?.storedBytes ?? 0) < bytes { return "its hints have reached \(options.targetBytes) bytes" }
        if options.totalBytes - state.storedBytes < bytes { return "all hints have reached \(options.totalBytes) bytes" }
        if options.bufferedBytes - state.bufferedBytes < bytes { return "\(options.bufferedBytes) bytes of hints wait for the disk" }
        return nil
    }

    /// Whether hints are still kept for a node that has been down since then.
    ///
    /// The oldest hint that waits counts like the time the node went down, so that a restart of this node does not open the window anew.
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

    /// In place: what waits in memory is not copied.
    @inline(__always) private static func change(_ series: inout Series, _ body: (inout Series) -> Void) { body(&series) }

    static func mark(_ state: inout State, _ target: UUID, _ missed: HintOverflow) {
        let empty = Series()
        var overflow = state.series[target, default: empty].overflow ?? missed
        overflow.include(missed)
        guard overflow != state.series[target, default: empty].overflow else { return }
        state.series[target, default: empty].overflow = overflow
        state.series[target, default: empty].isOverflowSaved = false
    }

    /// Whether a node missed writes for which there are no hints.
    public func needsRepair(_ target: UUID) -> Bool { overflow(of: target) != nil }

    /// From when to when a node missed writes for which there are no hints; nil when it missed none. On the disk after the next `sync`.
    public func overflow(of target: UUID) -> HintOverflow? { state.withLock { $0.series[target]?.overflow } }

    /// A node was repaired. On the disk after the next `sync`.
    /// - Parameter time: when the repair began, in seconds since 1970: what was missed later stays marked.
    public func clearNeedsRepair(_ target: UUID, upTo time: UInt32 = .max) {
        state.withLock { state in
            guard let overflow = state.series[target]?.overflow, overflow.first <= time else { return }
            state.series[target]?.overflow = overflow.last > time ? HintOverflow(first: time, last: overflow.last) : nil
            state.series[target]?.isOverflowSaved = false
        }
    }

    /// Nodes for which hints wait, by id.
    public func targets() -> [HintTarget] {
        state.withLock { state in
            state.series.compactMap { id, series in
                guard series.bufferedBytes > 0 || series.segments.contains(where: { !$0.isDone }) else { return nil }
                return HintTarget(id: id, bytes: series.waitingBytes, oldest: series.oldest)
            }
        }.sorted { $0.id < $1.id }
    }

    /// Bytes in memory that wait to be written: the owner may flush early.
    public var bufferedBytes: Int { state.withLock { $0.bufferedBytes } }

    /// Bytes of all hints, in files and in memory.
    public var storedBytes: Int { state.withLock { $0.storedBytes } }

    public var counters: HintCounters { state.withLock { $0.counters } }

    func path(_ name: HintFileName) -> String { directory + "/" + name.text }

    /// Walks all that is held and stops where the books do not add up; for tests.
    func checkInvariants() {
        files.withLock { files in
            state.withLock { state in
                var buffered = 0
                var stored = 0
                for (target, series) in state.series {
                    buffered += series.bufferedBytes
                    stored += series.storedBytes
                    precondition(series.writingBytes == files.unwritten[target]?.count ?? 0, "\(target): bytes being written")
                    precondition(zip(series.segments, series.segments.dropFirst()).allSatisfy { $0.number < $1.number }, "\(target): order")
                    precondition((series.bufferedOldest == .max) == (series.bufferedBytes == 0), "\(target): the oldest in memory")
                    precondition(series.segments.allSatisfy { $0.number <= files.lastNumber }, "\(target): numbers")
                }
                precondition(buffered == state.bufferedBytes, "\(buffered) bytes are buffered, \(state.bufferedBytes) are counted")
                precondition(stored == state.storedBytes, "\(stored) bytes are stored, \(state.storedBytes) are counted")
            }
        }
    }
}
