/// Logged batches over two partitions: in the end both have them, or neither.
///
/// SAFETY: `@unchecked Sendable` as `Workload` says.
public final class BatchWorkload: Workload, @unchecked Sendable {
    public let name = "batches"
    private let clients: Int
    /// By client: the pair of partitions 2n and 2n + 1.
    private var pairs: [VersionedHistory]
    public private(set) var violations: [Violation] = []

    /// How long what was begun may take to be whole, when all is well.
    static let patience = 180 * Nanoseconds.second

    public init(clients: Int) {
        self.clients = clients
        pairs = (0..<clients).map { VersionedHistory(name: "batch pair \($0)") }
    }

    public var tables: [String] { ["CREATE TABLE IF NOT EXISTS sim.batches (k int PRIMARY KEY, v int)"] }

    public func step(_ session: ClientSession) {
        let pair = session.number
        let value = pairs[pair].nextValue
        let version = pairs[pair].begin(value)
        let called = session.now
        let reply = session.run(
            "BEGIN BATCH USING TIMESTAMP \(version) INSERT INTO sim.batches (k, v) VALUES (\(2 * pair), \(value)); "
                + "INSERT INTO sim.batches (k, v) VALUES (\(2 * pair + 1), \(value)); APPLY BATCH")
        pairs[pair].ended(version, isAcknowledged: reply.isDone, called: called, now: session.now)
        if reply.isMeaningless { violations.append(Violation("\(name): refused as meaningless", history: [reply.text])) }
    }

    public func finish(_ session: ClientSession, _ readers: FinalReaders) {
        for pair in pairs.indices {
            let deadline = session.now + BatchWorkload.patience
            var seen: [[[String]]] = []
            while true {
                seen = (0...1).compactMap { readers.rows("SELECT v FROM sim.batches WHERE k = \(2 * pair + $0)", "ALL", node: 0) }
                guard seen.count == 2 else { return }
                if seen[0] == seen[1] || session.now > deadline { break }
                session.sleep(Nanoseconds.second)
            }
            if seen[0] != seen[1] {
                violations.append(
                    Violation(
                        "batch pair \(pair): one partition has \(seen[0]), the other \(seen[1])",
                        history: ["both were written by one logged batch"]))
            }
            let floor = pairs[pair].floor
            let called = session.now
            for half in 0...1 {
                guard let rows = readers.agreed("SELECT v FROM sim.batches WHERE k = \(2 * pair + half)") else { continue }
                let value = rows.first.flatMap { $0.first }.flatMap { Int($0) }
                if let violation = pairs[pair].saw(value, floor: floor, called: called, now: session.now) { violations.append(violation) }
            }
        }
    }
}
