/// Tables created by several clients at once: one of them creates the table, all nodes agree on it, and acknowledged
/// tables stay.
///
/// SAFETY: `@unchecked Sendable`, see `Workload`.
public final class SchemaWorkload: Workload, @unchecked Sendable {
    public let name = "schema"
    private let clients: Int
    /// The rounds whose table creation was acknowledged.
    private var acknowledged: Set<Int> = []
    /// The table ids that clients have seen, by round.
    private var ids: [Int: String] = [:]
    /// The last round of each client.
    private var rounds: [Int]
    public private(set) var violations: [Violation] = []

    /// The time between two rounds.
    static let period = 8 * Nanoseconds.second
    static let rounds = 20

    public init(clients: Int) {
        self.clients = clients
        rounds = [Int](repeating: 0, count: clients)
    }

    public var tables: [String] { [] }

    public func step(_ session: ClientSession) {
        let round = Int(session.now / SchemaWorkload.period)
        guard round > rounds[session.number], round <= SchemaWorkload.rounds else { return }
        rounds[session.number] = round
        let reply = session.run(
            "CREATE TABLE IF NOT EXISTS sim.made_\(round) (k int PRIMARY KEY, by_\(session.number) int, pad text)")
        if reply.isDone {
            acknowledged.insert(round)
            // After the acknowledgement, the client may use the table at once through the same node.
            let use = session.run("INSERT INTO sim.made_\(round) (k, pad) VALUES (\(session.number), 'x')")
            if !use.text.contains("made_") { violations += use.complaints(of: self) }
            let told = session.run(
                "SELECT id FROM system_schema.tables WHERE keyspace_name = 'sim' AND table_name = 'made_\(round)'",
                "ONE")
            if let id = told.rows?.first?.first { compare(round, id) }
        } else {
            violations += reply.complaints(of: self)
        }
    }

    /// Checks that a table has the same id for all clients and in the end.
    private func compare(_ round: Int, _ id: String) {
        if let known = ids[round], known != id {
            violations.append(
                Violation("the table sim.made_\(round) was acknowledged with id \(known), but now has id \(id)"))
        }
        ids[round] = id
    }

    public func finish(_ session: ClientSession, _ readers: FinalReaders) {
        compare(
            session, readers,
            "SELECT keyspace_name, table_name, id FROM system_schema.tables WHERE keyspace_name = 'sim'"
        ) { rows in
            for round in self.acknowledged.sorted()
            where !rows.contains(where: { $0.count > 1 && $0[1] == "\"made_\(round)\"" }) {
                self.violations.append(
                    Violation("the table sim.made_\(round) was acknowledged but does not exist in the end"))
            }
            for row in rows where row.count > 2 {
                guard let round = Int(row[1].filter(\.isNumber)), row[1] == "\"made_\(round)\"" else { continue }
                self.compare(round, row[2])
            }
        }
        compare(
            session, readers,
            "SELECT table_name, column_name, type FROM system_schema.columns WHERE keyspace_name = 'sim'"
        ) { _ in }
    }

    /// Runs the statement on every node at `ONE`, which reads the node's own schema, until all answers are equal or the
    /// time is up.
    private func compare(
        _ session: ClientSession, _ readers: FinalReaders, _ statement: String, _ check: ([[String]]) -> Void
    ) {
        let deadline = session.now + 60 * Nanoseconds.second
        while true {
            let all = (0..<session.nodeCount).compactMap {
                readers.rows(statement, "ONE", node: $0)?.sorted { $0.lexicographicallyPrecedes($1) }
            }
            guard all.count == session.nodeCount, let first = all.first else { return }
            guard let other = all.firstIndex(where: { $0 != first }) else { return check(first) }
            if session.now > deadline {
                let missing = first.filter { !all[other].contains($0) }.prefix(4)
                let extra = all[other].filter { !first.contains($0) }.prefix(4)
                violations.append(
                    Violation(
                        "nodes differ in the schema in the end: \(statement)",
                        history: [
                            "only \(session.name(of: 0)) has \(missing)",
                            "only \(session.name(of: other)) has \(extra)",
                        ]))
                return
            }
            session.sleep(Nanoseconds.second)
        }
    }
}
