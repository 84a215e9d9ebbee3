/// Counters: every read is between what was acknowledged and what was attempted.
///
/// SAFETY: `@unchecked Sendable`, see `Workload`.
public final class CounterWorkload: Workload, @unchecked Sendable {
    public let name = "counters"
    private var counters = (0..<3).map { CounterHistory(name: "counter \($0)") }
    public private(set) var violations: [Violation] = []

    public init() {}

    public var tables: [String] { ["CREATE TABLE IF NOT EXISTS sim.counters (k int PRIMARY KEY, c counter)"] }

    public func step(_ session: ClientSession) {
        let key = session.world.random.int(0...counters.count - 1)
        if session.world.random.happens(0.3) {
            let floor = counters[key].acknowledged
            let reply = session.run("SELECT c FROM sim.counters WHERE k = \(key)")
            if let rows = reply.rows { saw(key, rows, floor) }
            return
        }
        let amount = session.world.random.int(1...9)
        counters[key].begin(amount)
        let reply = session.run("UPDATE sim.counters SET c = c + \(amount) WHERE k = \(key)")
        if reply.isDone { counters[key].acknowledge(amount) } else if reply.isRefused { counters[key].takeBack(amount) }
        violations += reply.complaints(of: self)
    }

    private func saw(_ key: Int, _ rows: [[String]], _ floor: Int) {
        let value = rows.first.flatMap { $0.first }.flatMap { Int($0) } ?? 0
        if let violation = counters[key].saw(value, floor: floor) { violations.append(violation) }
    }

    public func finish(_ session: ClientSession, _ readers: FinalReaders) {
        for key in counters.indices {
            if let rows = readers.agreed("SELECT c FROM sim.counters WHERE k = \(key)") {
                saw(key, rows, counters[key].acknowledged)
            }
        }
    }
}
