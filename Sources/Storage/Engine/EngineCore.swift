import DataModel
import Platform
import Primitives
import Synchronization

/// How the storage engine is set up.
public struct StorageOptions: Sendable {
    /// Bytes for all memtables together. Half of it active starts a flush; at all of it writers wait.
    public var memtableBytes = 128 << 20
    /// Bytes of blocks kept in memory.
    public var cacheBytes = 256 << 20
    /// Shards of a table: a power of two, at most 256.
    public var shards = 8
    /// Bytes a second that compactions may write together; 0: no limit.
    public var compactionBytesPerSecond = 64 << 20
    public var log = CommitLogOptions()
    /// Whether writes are logged at all.
    public var hasLog = true

    public init() {}
}

/// What all tables of an engine share.
final class EngineCore: Sendable {
    let system: any FileSystem
    let time: any TimeSource
    let background: any Background
    let options: StorageOptions
    let observer: @Sendable (EngineEvent) -> Void
    let cache: BlockCache
    private let logState = Mutex<CommitLog?>(nil)
    private let nextTable = Atomic<UInt32>(1)
    /// Bytes of all memtables, and of those not frozen yet.
    let memoryBytes = Atomic<Int>(0)
    let activeBytes = Atomic<Int>(0)
    private let scratches = Mutex<[ScratchBox]>([])

    /// SAFETY: a scratch is used by the one that took it out of the pool.
    private struct ScratchBox: @unchecked Sendable { let scratch: ReadScratch }

    init(
        system: any FileSystem, time: any TimeSource, background: any Background, options: StorageOptions,
        observer: @escaping @Sendable (EngineEvent) -> Void = { _ in }
    ) {
        self.observer = observer
        self.system = system
        self.time = time
        self.background = background
        self.options = options
        cache = BlockCache(limitBytes: options.cacheBytes)
    }

    var log: CommitLog? { logState.withLock { $0 } }
    func setLog(_ log: CommitLog) { logState.withLock { $0 = log } }

    /// The number of a new table's file.
    func newTableNumber() -> UInt32 { nextTable.add(1, ordering: .relaxed).oldValue }

    /// Keeps new numbers above one that is in use.
    func noteTableNumber(_ id: UInt32) {
        while true {
            let current = nextTable.load(ordering: .relaxed)
            if current > id { return }
            if nextTable.compareExchange(expected: current, desired: id + 1, ordering: .relaxed).exchanged { return }
        }
    }

    func withScratch<R>(_ body: (ReadScratch) -> R) -> R {
        let box = scratches.withLock { $0.popLast() } ?? ScratchBox(scratch: ReadScratch())
        defer { scratches.withLock { if $0.count < 32 { $0.append(box) } } }
        return body(box.scratch)
    }
}
