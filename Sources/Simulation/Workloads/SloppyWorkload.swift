/// Writes to a keyspace with a sloppy quorum: every acknowledged write reaches its replicas in the end, even if other
/// nodes stored it as a hint at first.
///
/// Reads may miss it until then, so only the final state is checked.
///
/// SAFETY: `@unchecked Sendable`, see `Workload`.
public final class SloppyWorkload: Workload, @unchecked Sendable {
    public let name = "sloppy"
    private let replicas: Int
    private var next = 0
    /// The acknowledged keys and when their writes were called.
    private var acknowledged: [(key: Int, called: UInt64)] = []
    public private(set) var violations: [Violation] = []

    /// How long hints may take to arrive once all faults have ended.
    static let patience = 180 * Nanoseconds.second

    /// - Parameter replicas: the replication factor.
    public init(replicas: Int) { self.replicas = replicas }

    public var tables: [String] {
        [
            "CREATE KEYSPACE IF NOT EXISTS sloppy WITH replication = {'class': 'SimpleStrategy', 'replication_factor': \(replicas)} "
                + "AND sloppy_quorum = true",
            "CREATE TABLE IF NOT EXISTS sloppy.rows (k int PRIMARY KEY, v int)",
        ]
    }

    public func step(_ session: ClientSession) {
        let key = next
        next += 1
        let called = session.now
        let reply = session.run("INSERT INTO sloppy.rows (k, v) VALUES (\(key), \(key))")
        violations += reply.complaints(of: self)
        if reply.isDone { acknowledged.append((key, called)) }
    }

    public func finish(_ session: ClientSession, _ readers: FinalReaders) {
        let deadline = session.now + SloppyWorkload.patience
        while true {
            guard let rows = readers.rows("SELECT k FROM sloppy.rows", "ALL", node: 0) else { return }
            let found = Set(rows.compactMap { $0.first.flatMap { Int($0) } })
            let missing = acknowledged.filter { !found.contains($0.key) }
            if missing.isEmpty { return }
            if session.now >= deadline {
                violations.append(
                    Violation(
                        "\(missing.count) acknowledged rows of a keyspace with a sloppy quorum are lost",
                        history: missing.prefix(8).map {
                            "row \($0.key), written at \(SimulationLog.seconds($0.called).drop { $0 == " " }) s"
                        }))
                return
            }
            session.sleep(2 * Nanoseconds.second)
        }
    }
}
