import Cluster
import Coordinator
import DataModel
import Messages
import Platform
import Primitives
import Replica
import Storage
import Synchronization

/// Applies the logged batches kept on this node that their coordinators have not removed.
///
/// 1. At the start and every `period` it reads the batches older than `minimumAge`: their coordinators have given up or
///    died by then.
/// 2. The coordinator of loop 0 writes each batch to all its replicas (`ReplayOperation`), a page of batches at a time,
///    at most `bytesPerSecond`.
/// 3. A batch is removed when that succeeded and the hints written for it are on the disk. One that could not be
///    applied is tried again at the next pass.
/// 4. A batch older than `gc_grace_seconds` of its tables is removed without being applied: it could bring deleted rows
///    back.
///
/// **Thread safety**: all methods, from any thread.
final class BatchReplay: Sendable {
    let batchLog: BatchLog
    /// Microseconds; a coordinator takes at most this long.
    private let minimumAge: Int64
    private let views: ClusterViews
    private let hints: HintHandoff
    private let storage: StorageEngine
    private let peers: PeerClient
    private let driver: LoopDriver
    private let network: any Network
    private let background: any Background
    private let time: any TimeSource
    private let log: OperatorLog
    private let stop: StopSignal
    private let isPassing = Atomic<Bool>(false)
    let replayed = Atomic<Int>(0)
    let expired = Atomic<Int>(0)
    /// Batches that the last pass left.
    let pending = Atomic<Int>(0)

    /// In nanoseconds.
    static let period: UInt64 = 10_000_000_000
    static let bytesPerSecond = 4 << 20
    static let pageBytes = 1 << 20
    static let pageCount = 64

    /// - Parameters:
    ///   - minimumAge: as long as a coordinator may take, in microseconds.
    ///   - driver: that of loop 0.
    init(
        batchLog: BatchLog, minimumAge: Int64, views: ClusterViews, hints: HintHandoff, storage: StorageEngine,
        peers: PeerClient, driver: LoopDriver, network: any Network, background: any Background,
        time: any TimeSource, log: OperatorLog, stop: StopSignal
    ) {
        self.batchLog = batchLog
        self.minimumAge = minimumAge
        self.views = views
        self.hints = hints
        self.storage = storage
        self.peers = peers
        self.driver = driver
        self.network = network
        self.background = background
        self.time = time
        self.log = log
        self.stop = stop
    }

    /// Begins passes over the log: one now, the next `period` after each.
    func start() {
        background.run(.control) { [weak self] in
            guard let self, !self.stop.isSet else { return }
            self.makePass(before: self.time.wallMicroseconds() - self.minimumAge)
            self.network.schedule(loop: 0, nanoseconds: BatchReplay.period) { [weak self] in
                guard let self, !self.stop.isSet else { return }
                self.start()
            }
        }
    }

    /// Applies all batches, whatever their age, and gives those that cannot be applied to other nodes, because this
    /// node leaves; on a background thread.
    ///
    /// No coordinator asks a leaving node to keep a batch.
    func handOver() throws(ServerError) {
        for attempt in 0..<10 {
            if attempt > 0 { background.sleep(nanoseconds: 1_000_000_000) }
            if makePass(before: .max) == 0 { return }
        }
        waitForTurn()
        defer { isPassing.store(false, ordering: .releasing) }
        do throws(ReplicaError) {
            try batchLog.look(before: .max, pageBytes: BatchReplay.pageBytes, pageCount: BatchReplay.pageCount) {
                page throws(ReplicaError) in
                for batch in page {
                    try give(batch)
                    try batchLog.remove(batch.key)
                }
                return .next
            }
        } catch {
            if case .server(let error) = error { throw error }
            throw ServerError(.serverError, "logged batches that this node keeps cannot be handed over: \(error)")
        }
    }

    /// Has another node keep a batch.
    private func give(_ batch: LoggedBatch) throws(ReplicaError) {
        guard let view = views.current else { return }
        var random = SeededRandom(seed: batch.key.id.low)
        var last = "no other node is alive"
        for node in view.chooseBatchlogNodes(random: &random) {
            let other = view.ring.nodes[node]
            switch peers.ask(.storeBatch(batch), at: other.endpoint, wanted: other.id, timeout: 10_000_000) {
            case .done: return
            case .failed(_, let text): last = text
            case let other: last = "\(other)"
            }
        }
        throw .server(ServerError(.serverError, "a logged batch that this node keeps cannot be handed over: \(last)"))
    }

    private func waitForTurn() {
        while isPassing.exchange(true, ordering: .acquiring) { background.sleep(nanoseconds: 10_000_000) }
    }

    /// Applies the batches created before `limit`.
    /// - Returns: the number of batches left.
    @discardableResult private func makePass(before limit: Int64) -> Int {
        waitForTurn()
        defer { isPassing.store(false, ordering: .releasing) }
        var left = 0
        do throws(ReplicaError) {
            try batchLog.look(before: limit, pageBytes: BatchReplay.pageBytes, pageCount: BatchReplay.pageCount) {
                page throws(ReplicaError) in
                if stop.isSet { return .stop }
                let began = time.monotonicMicroseconds()
                left += try replay(page)
                let bytes = page.reduce(0) { $0 + $1.mutations.count }
                let ahead =
                    Int64(bytes) * 1_000_000 / Int64(BatchReplay.bytesPerSecond)
                    - (time.monotonicMicroseconds() - began)
                if ahead > 0 { background.sleep(nanoseconds: UInt64(min(ahead, 10_000_000)) * 1000) }
                return .next
            }
            pending.store(left, ordering: .relaxed)
        } catch {
            log.report("logged batches cannot be applied: \(error)", level: .error)
            left += 1
        }
        return left
    }

    /// - Returns: the number of batches of the page that are left.
    private func replay(_ page: [LoggedBatch]) throws(ReplicaError) -> Int {
        let now = time.wallMicroseconds()
        var current: [LoggedBatch] = []
        for batch in page {
            let grace = batch.mutations.withUnsafeBytes { storage.leastGrace(of: $0) }
            guard batch.hasExpired(now: now, graceSeconds: grace) else {
                current.append(batch)
                continue
            }
            log.report("discarding a logged batch older than gc_grace_seconds of its tables (\(grace) s)")
            expired.add(1, ordering: .relaxed)
            try batchLog.remove(batch.key)
        }
        let applied = apply(current)
        if applied.isEmpty { return current.count }
        // Until its hints are on the disk, the stored batch is the only copy for replicas that are down.
        if hints.store.bufferedBytes > 0 { hints.write() }
        for index in applied { try batchLog.remove(current[index].key) }
        replayed.add(applied.count, ordering: .relaxed)
        return current.count - applied.count
    }

    /// - Returns: the indices of the batches that were applied, in the order in which they were.
    private func apply(_ batches: [LoggedBatch]) -> [Int] {
        guard !batches.isEmpty, let view = views.current else { return [] }
        let outcomes = Gathering<(index: Int, isApplied: Bool)>(count: batches.count)
        network.onLoop(0) { [driver] in
            for (index, batch) in batches.enumerated() {
                driver.run({ (coordinator) throws(ServerError) in
                    try coordinator.replay(
                        batch.mutations, batch: batch,
                        writtenAt: UInt32(clamping: batch.key.created / 1_000_000), cluster: view, now: driver.now)
                }) { result in
                    let isApplied = if case .success = result { true } else { false }
                    outcomes.add((index, isApplied))
                }
            }
        }
        return outcomes.wait(on: background).filter(\.isApplied).map(\.index)
    }
}
