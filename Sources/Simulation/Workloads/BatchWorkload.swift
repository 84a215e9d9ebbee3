/// Logged batches over two partitions: in the end both partitions have the batch, or neither.
///
/// Each batch has a pair of partitions of its own, so that a later batch cannot hide a torn one.
///
/// SAFETY: `@unchecked Sendable`, see `Workload`.
public final class BatchWorkload: Workload, @unchecked Sendable {
    private struct Batch {
        /// The batch writes partitions 2 * pair and 2 * pair + 1.
        var pair: Int
        var isAcknowledged: Bool
        var called: UInt64
    }

    public let name = "batches"
    private var batches: [Batch] = []
    private var nextPair = 0
    public private(set) var violations: [Violation] = []

    /// How long an unfinished batch may take to complete once all faults have ended.
    static let patience = 180 * Nanoseconds.second
    /// The number of acknowledged batches checked in the end. All batches of unknown outcome are checked.
    static let sampleSize = 40

    public init() {}

    public var tables: [String] { ["CREATE TABLE IF NOT EXISTS sim.batches (k int PRIMARY KEY, v int)"] }

    public func step(_ session: ClientSession) {
        let pair = nextPair
        nextPair += 1
        let called = session.now
        let reply = session.run(
            "BEGIN BATCH INSERT INTO sim.batches (k, v) VALUES (\(2 * pair), \(pair)); "
                + "INSERT INTO sim.batches (k, v) VALUES (\(2 * pair + 1), \(pair)); APPLY BATCH")
        violations += reply.complaints(of: self)
        batches.append(Batch(pair: pair, isAcknowledged: reply.isDone, called: called))
    }

    public func finish(_ session: ClientSession, _ readers: FinalReaders) {
        guard readers.areEqual("SELECT k, v FROM sim.batches") else { return }
        var acknowledged = session.world.random.shuffled(batches.filter(\.isAcknowledged))
        acknowledged = Array(acknowledged.prefix(BatchWorkload.sampleSize))
        for batch in batches.filter({ !$0.isAcknowledged }) + acknowledged { check(batch, session, readers) }
    }

    private func check(_ batch: Batch, _ session: ClientSession, _ readers: FinalReaders) {
        let deadline = session.now + BatchWorkload.patience
        var halves: [[[String]]] = []
        while true {
            halves = (0...1).compactMap {
                readers.rows("SELECT v FROM sim.batches WHERE k = \(2 * batch.pair + $0)", "ALL", node: 0)
            }
            guard halves.count == 2 else { return }
            if halves[0] == halves[1] || session.now > deadline { break }
            session.sleep(Nanoseconds.second)
        }
        let span = "begun at \(SimulationLog.seconds(batch.called).drop { $0 == " " }) s"
        if halves[0] != halves[1] {
            violations.append(
                Violation(
                    "a logged batch is torn: partition \(2 * batch.pair) has \(halves[0]), partition \(2 * batch.pair + 1) has \(halves[1])",
                    history: ["\(span), \(batch.isAcknowledged ? "acknowledged" : "of unknown outcome")"]))
        } else if batch.isAcknowledged && halves[0] != [["\(batch.pair)"]] {
            violations.append(
                Violation(
                    "a logged batch that was acknowledged is lost: partition \(2 * batch.pair) has \(halves[0])",
                    history: [span]))
        }
    }
}
