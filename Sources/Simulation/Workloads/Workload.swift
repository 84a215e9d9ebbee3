/// Something clients do to a cluster, and what must hold of it.
///
/// `step` and `finish` are called on fibers. SAFETY: implementations are touched by the world's thread.
public protocol Workload: AnyObject, Sendable {
    var name: String { get }
    /// Statements that make its tables.
    var tables: [String] { get }
    /// Whether what it checks was acknowledged by a sync in some modes of the log only: in the others a loss of power may cost it.
    var needsSyncedLog: Bool { get }
    /// Does one thing.
    func step(_ session: ClientSession)
    /// What was violated until now.
    var violations: [Violation] { get }
    /// Checks what is left when all is well again: every node must answer, and all the same.
    func finish(_ session: ClientSession, _ readers: FinalReaders)
}

extension Workload {
    public var needsSyncedLog: Bool { true }
}

extension LineReply {
    /// A violation when the request was refused as one that makes no sense, which no fault explains.
    func complaints(of workload: any Workload) -> [Violation] {
        isMeaningless ? [Violation("\(workload.name): refused as meaningless", history: [text])] : []
    }
}

extension [[String]] {
    /// The number beside a key, in rows of keys and values; nil when there is none.
    func value(of key: Int) -> Int? { first { $0.first == String(key) }.flatMap { $0.count > 1 ? Int($0[1]) : nil } }
}

/// Reads of the end: every node is asked, until it answers or the time is up.
public final class FinalReaders {
    private let session: ClientSession
    private let patience: UInt64
    private let areRepaired: Bool
    /// How long a hint that rested may still come after a repair.
    static let hintTime = 60 * Nanoseconds.second
    private(set) var violations: [Violation] = []

    /// - Parameters:
    ///   - patience: how long nodes may take to answer.
    ///   - areRepaired: replicas hold the same, whoever asks one alone; the repair's own comparison is not believed.
    init(session: ClientSession, patience: UInt64, areRepaired: Bool) {
        self.session = session
        self.patience = patience
        self.areRepaired = areRepaired
    }

    /// The answer of a node; nil when it gives none in time, which is a violation.
    func rows(_ statement: String, _ consistency: String, node: Int) -> [[String]]? {
        let deadline = session.now + patience
        while true {
            let reply = session.run(statement, consistency, node: node)
            if let rows = reply.rows { return rows }
            if session.now >= deadline || reply.isMeaningless {
                violations.append(
                    Violation(
                        "\(session.name(of: node)) does not answer though all is well again: \(statement) at \(consistency)",
                        history: [reply.text]))
                return nil
            }
            session.sleep(200 * Nanoseconds.millisecond)
        }
    }

    /// After a repair: whether all nodes come to answer the same at `ONE`, before a read at `ALL` makes them. True before one.
    func areEqual(_ statement: String) -> Bool {
        guard areRepaired else { return true }
        let deadline = session.now + FinalReaders.hintTime
        while true {
            let answers = (0..<session.nodeCount).compactMap { rows(statement, "ONE", node: $0) }
            guard answers.count == session.nodeCount, let first = answers.first else { return false }
            guard let other = answers.firstIndex(where: { $0 != first }) else { return true }
            // A hint that was under way may come now.
            if session.now < deadline {
                session.sleep(4 * Nanoseconds.second)
                continue
            }
            let missing = first.filter { !answers[other].contains($0) }.prefix(4)
            let extra = answers[other].filter { !first.contains($0) }.prefix(4)
            violations.append(
                Violation(
                    "replicas differ after a repair: \(statement)",
                    history: ["only \(session.name(of: 0)) has \(missing)", "only \(session.name(of: other)) has \(extra)"]))
            return false
        }
    }

    /// What all nodes answer at `ALL`, then at `ONE`, when they agree; a violation when they do not.
    func agreed(_ statement: String) -> [[String]]? {
        guard areEqual(statement) else { return nil }
        var first: [[String]]?
        for level in ["ALL", "ONE"] {
            for node in 0..<session.nodeCount {
                guard let rows = rows(statement, level, node: node) else { return nil }
                guard let expected = first else {
                    first = rows
                    continue
                }
                if rows != expected {
                    violations.append(
                        Violation(
                            "nodes differ in the end: \(statement)",
                            history: ["\(session.name(of: 0)) at ALL: \(expected)", "\(session.name(of: node)) at \(level): \(rows)"]))
                    return nil
                }
            }
        }
        return first
    }
}
