import DataModel
import Platform
import Primitives
import Synchronization

/// Options of the storage engine.
public struct StorageOptions: Sendable {
    /// The budget for all memtables together, in bytes. When active memtables reach half of it, a flush starts; when
    /// all memtables reach it, writers wait.
    public var memtableBytes = 128 << 20
    /// The size of the block cache, in bytes.
    public var cacheBytes = 256 << 20
    /// The number of shards per table: a power of two, at most 256.
    public var shards = 8
    /// The rate limit for the writes of all compactions together, in bytes per second; 0 means no limit.
    public var compactionBytesPerSecond = 64 << 20
    public var log = CommitLogOptions()
    /// Whether writes go to the commit log.
    public var hasLog = true

    public init() {}
}

/// The state that all tables of an engine share.
final class EngineCore: Sendable {
    let system: any FileSystem
    let time: any TimeSource
    let background: any Background
    let options: StorageOptions
    let observer: @Sendable (EngineEvent) -> Void
    let cache: BlockCache
    /// Rows that the commit log could not write.
    let unlogged = UnloggedRows()
    private let logState = Mutex<CommitLog?>(nil)
    private let nextTable = Atomic<UInt32>(1)
    /// Bytes of all memtables; `activeBytes` counts only those not frozen.
    let memoryBytes = Atomic<Int>(0)
    let activeBytes = Atomic<Int>(0)
    private let scratches = Mutex<[ScratchBox]>([])

    /// SAFETY: a scratch is used only by the thread that took it from the pool.
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

    /// Returns an unused number for a new sstable file.
    func newSSTableNumber() -> UInt32 { nextTable.add(1, ordering: .relaxed).oldValue }

    /// Keeps future sstable numbers above `id`.
    func reserveSSTableNumber(_ id: UInt32) {
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
