/// A kind of client load, and the guarantees it checks.
///
/// `step` and `finish` are called on fibers. SAFETY: only the world's thread touches implementations.
public protocol Workload: AnyObject, Sendable {
    var name: String { get }
    /// The statements that create its tables.
    var tables: [String] { get }
    /// Whether some commit log sync modes acknowledge the writes it checks before they are synced, so that a power loss
    /// may lose them.
    var needsSyncedLog: Bool { get }
    /// Performs one operation.
    func step(_ session: ClientSession)
    /// The violations found so far.
    var violations: [Violation] { get }
    /// Checks the final state once all faults have ended: every node must answer, and all answers must agree.
    func finish(_ session: ClientSession, _ readers: FinalReaders)
}

extension Workload {
    public var needsSyncedLog: Bool { true }
}

extension LineReply {
    /// Returns a violation if the server rejected the request as invalid, which no fault explains.
    func complaints(of workload: any Workload) -> [Violation] {
        isInvalidRequest ? [Violation("\(workload.name): rejected as invalid", history: [text])] : []
    }
}

extension [[String]] {
    /// Returns the number next to a key in rows of keys and values; nil when there is none.
    func value(of key: Int) -> Int? { first { $0.first == String(key) }.flatMap { $0.count > 1 ? Int($0[1]) : nil } }
}

/// The reads of the final checks: every node is asked until it answers or the time is up.
public final class FinalReaders {
    private let session: ClientSession
    private let patience: UInt64
    private let areRepaired: Bool
    /// How long a delayed hint may still arrive after a repair, in nanoseconds.
    static let hintTime = 60 * Nanoseconds.second
    private(set) var violations: [Violation] = []

    /// - Parameters:
    ///   - patience: how long a node may take to answer, in nanoseconds.
    ///   - areRepaired: whether replicas must be equal when read individually. This does not rely on the repair's own
    ///     comparison.
    init(session: ClientSession, patience: UInt64, areRepaired: Bool) {
        self.session = session
        self.patience = patience
        self.areRepaired = areRepaired
    }

    /// Returns a node's answer; nil, after recording a violation, when it gives none in time.
    func rows(_ statement: String, _ consistency: String, node: Int) -> [[String]]? {
        let deadline = session.now + patience
        while true {
            let reply = session.run(statement, consistency, node: node)
            if let rows = reply.rows { return rows }
            if session.now >= deadline || reply.isInvalidRequest {
                violations.append(
                    Violation(
                        "\(session.name(of: node)) does not answer after all faults ended: \(statement) at \(consistency)",
                        history: [reply.text]))
                return nil
            }
            session.sleep(200 * Nanoseconds.millisecond)
        }
    }

    /// Returns whether, after a repair, all nodes give the same answer at `ONE`, before a read at `ALL` repairs them.
    /// True before a repair.
    func areEqual(_ statement: String) -> Bool {
        guard areRepaired else { return true }
        let deadline = session.now + FinalReaders.hintTime
        while true {
            let answers = (0..<session.nodeCount).compactMap { rows(statement, "ONE", node: $0) }
            guard answers.count == session.nodeCount, let first = answers.first else { return false }
            guard let other = answers.firstIndex(where: { $0 != first }) else { return true }
            // A hint under way may still arrive.
            if session.now < deadline {
                session.sleep(4 * Nanoseconds.second)
                continue
            }
            let missing = first.filter { !answers[other].contains($0) }.prefix(4)
            let extra = answers[other].filter { !first.contains($0) }.prefix(4)
            violations.append(
                Violation(
                    "replicas differ after a repair: \(statement)",
                    history: [
                        "only \(session.name(of: 0)) has \(missing)", "only \(session.name(of: other)) has \(extra)",
                    ]))
            return false
        }
    }

    /// Returns the answer all nodes give at `ALL` and then at `ONE`; nil, after recording a violation, when they
    /// differ.
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
                            history: [
                                "\(session.name(of: 0)) at ALL: \(expected)",
                                "\(session.name(of: node)) at \(level): \(rows)",
                            ]))
                    return nil
                }
            }
        }
        return first
    }
}
