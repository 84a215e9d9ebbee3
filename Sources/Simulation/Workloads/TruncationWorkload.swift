/// Tables that are truncated repeatedly: no earlier row comes back, and no later row is lost.
///
/// Each table belongs to one client, the only one to read and write it, so that it is certain which writes precede a
/// TRUNCATE. Hints, logged batches and late messages could bring rows back. While the outcome of a TRUNCATE is unknown,
/// the client only truncates the table again.
///
/// SAFETY: `@unchecked Sendable`, see `Workload`.
public final class TruncationWorkload: Workload, @unchecked Sendable {
    public let name = "truncations"
    private struct Table {
        var rows: [VersionedHistory]
        var isUncertain = false
    }

    private var emptied: [Table]
    public private(set) var violations: [Violation] = []

    static let rowsPerTable = 6

    /// - Parameter clients: the number of clients; only the first two have a table.
    public init(clients: Int) {
        emptied = (0..<min(2, clients)).map { table in
            Table(
                rows: (0..<TruncationWorkload.rowsPerTable).map {
                    VersionedHistory(name: "row \($0) of emptied_\(table)")
                })
        }
    }

    public var tables: [String] {
        emptied.indices.map { "CREATE TABLE IF NOT EXISTS sim.emptied_\($0) (k int PRIMARY KEY, v int)" }
    }

    public func step(_ session: ClientSession) {
        let table = session.number
        guard table < emptied.count else { return }
        if session.world.random.happens(0.3) { session.switchNode() }
        if emptied[table].isUncertain || session.world.random.happens(0.06) { return empty(table, session) }
        if session.world.random.happens(0.2) { return read(table, session) }
        let first = session.world.random.int(0...TruncationWorkload.rowsPerTable - 1)
        if session.world.random.happens(0.7) { return write(table, [first], session) }
        write(table, [first, (first + 1) % TruncationWorkload.rowsPerTable], session)
    }

    private func write(_ table: Int, _ keys: [Int], _ session: ClientSession) {
        let called = session.now
        let versions = keys.map { key in
            let value = emptied[table].rows[key].nextValue
            return emptied[table].rows[key].begin(value)
        }
        let inserts = zip(keys, versions).map { key, version in
            "INSERT INTO sim.emptied_\(table) (k, v) VALUES (\(key), \(version)) USING TIMESTAMP \(version)"
        }
        let reply = session.run(
            inserts.count == 1 ? inserts[0] : "BEGIN BATCH " + inserts.joined(separator: "; ") + "; APPLY BATCH")
        for (key, version) in zip(keys, versions) {
            emptied[table].rows[key].ended(version, isAcknowledged: reply.isDone, called: called, now: session.now)
        }
        violations += reply.complaints(of: self)
    }

    private func empty(_ table: Int, _ session: ClientSession) {
        let called = session.now
        let reply = session.run("TRUNCATE sim.emptied_\(table)")
        violations += reply.complaints(of: self)
        if case .failed(_, let text) = reply, text.contains("nothing was removed") { return }
        for key in emptied[table].rows.indices {
            let version = emptied[table].rows[key].begin(nil)
            emptied[table].rows[key].ended(version, isAcknowledged: reply.isDone, called: called, now: session.now)
        }
        emptied[table].isUncertain = !reply.isDone
    }

    private func read(_ table: Int, _ session: ClientSession) {
        let called = session.now
        let reply = session.run("SELECT k, v FROM sim.emptied_\(table)")
        if let found = reply.rows { saw(table, found, called, session.now) }
        violations += reply.complaints(of: self)
    }

    private func saw(_ table: Int, _ found: [[String]], _ called: UInt64, _ now: UInt64) {
        for key in emptied[table].rows.indices {
            let value = found.value(of: key)
            let floor = emptied[table].rows[key].floor
            if let violation = emptied[table].rows[key].saw(value, floor: floor, called: called, now: now) {
                violations.append(violation)
            }
        }
    }

    public func finish(_ session: ClientSession, _ readers: FinalReaders) {
        for table in emptied.indices {
            let called = session.now
            guard let found = readers.agreed("SELECT k, v FROM sim.emptied_\(table)") else { continue }
            saw(table, found, called, session.now)
        }
    }
}
