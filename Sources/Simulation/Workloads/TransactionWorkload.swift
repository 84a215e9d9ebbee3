/// Lightweight transactions on a few partitions: their histories are linearizable.
///
/// A register is used until its history has `historyLimit` operations; then a new one replaces it.
///
/// SAFETY: `@unchecked Sendable`, see `Workload`.
public final class TransactionWorkload: Workload, @unchecked Sendable {
    private struct Register {
        let key: Int
        var history: [RegisterOperation] = []
        /// The value seen last, used as the expected value.
        var guess = 0
        /// The number of operations under way.
        var busy = 0
    }

    public let name = "transactions"
    private var active: [Register] = []
    private var retired: [Register] = []
    private var nextKey = 0
    private var nextValue = 1
    public private(set) var violations: [Violation] = []

    static let registers = 2
    /// The greatest number of operations of a register.
    static let historyLimit = 80

    public init() {
        for _ in 0..<TransactionWorkload.registers { addRegister() }
    }

    /// False: Paxos promises and proposals are synced in every mode, and lost commits are completed again.
    public var needsSyncedLog: Bool { false }

    public var tables: [String] { ["CREATE TABLE IF NOT EXISTS sim.transactions (k int PRIMARY KEY, v int)"] }

    private func addRegister() {
        active.append(Register(key: nextKey))
        nextKey += 1
    }

    public func step(_ session: ClientSession) {
        let slot = session.world.random.int(0...active.count - 1)
        if active[slot].history.count + active[slot].busy >= TransactionWorkload.historyLimit {
            guard active[slot].busy == 0 else { return }
            retired.append(active[slot])
            check(active[slot])
            active[slot] = Register(key: nextKey)
            nextKey += 1
            return
        }
        active[slot].busy += 1
        let key = active[slot].key
        let called = Int(session.now)
        let kind = operate(session, key, guess: active[slot].guess)
        // The register stays in its slot while operations are under way.
        active[slot].busy -= 1
        if let kind {
            active[slot].history.append(
                RegisterOperation(kind: kind.kind, called: called, returned: kind.isKnown ? Int(session.now) : nil))
            switch kind.kind {
            case .read(let value): active[slot].guess = value
            case .swap(_, let value): if kind.isKnown { active[slot].guess = value }
            }
        }
    }

    /// Runs one operation on a register: a read, a conditional insert or a conditional update.
    /// - Returns: its effect; nil when it certainly had none.
    private func operate(_ session: ClientSession, _ key: Int, guess: Int) -> (
        kind: RegisterOperation.Kind, isKnown: Bool
    )? {
        if session.world.random.happens(0.3) {
            let reply = session.run("SELECT v FROM sim.transactions WHERE k = \(key)", "SERIAL")
            violations += reply.complaints(of: self)
            guard let rows = reply.rows else { return nil }
            return (.read(value(rows.first?.first)), true)
        }
        let new = nextValue
        nextValue += 1
        let statement =
            guess == 0
            ? "INSERT INTO sim.transactions (k, v) VALUES (\(key), \(new)) IF NOT EXISTS"
            : "UPDATE sim.transactions SET v = \(new) WHERE k = \(key) IF v = \(guess)"
        let reply = session.run(statement)
        violations += reply.complaints(of: self)
        switch reply {
        case .done(let rows, _):
            if reply.isApplied { return (.swap(guess, new), true) }
            // [applied], then the row found: k, v after an insert, v after an update.
            return (.read(value(rows.first.flatMap { $0.count > 1 ? $0.last : nil })), true)
        // Another proposer may have completed a proposal that failed, so only an invalid request certainly had no
        // effect.
        case .failed: return reply.isInvalidRequest ? nil : (.swap(guess, new), false)
        case .unknown: return (.swap(guess, new), false)
        }
    }

    private func value(_ cell: String?) -> Int { cell.flatMap { Int($0) } ?? 0 }

    private func check(_ register: Register) {
        if Linearizability.holds(register.history, initial: 0) { return }
        let shortest = Linearizability.shortest(register.history, initial: 0)
        violations.append(
            Violation(
                "lightweight transactions on partition \(register.key) are not linearizable (nanoseconds of call and return)",
                history: shortest.map(\.description)))
    }

    public func finish(_ session: ClientSession, _ readers: FinalReaders) {
        for slot in active.indices {
            let called = Int(session.now)
            // A serial read first: it completes transactions under way.
            guard
                let rows = readers.rows(
                    "SELECT v FROM sim.transactions WHERE k = \(active[slot].key)", "SERIAL", node: 0)
            else {
                continue
            }
            active[slot].history.append(
                RegisterOperation(kind: .read(value(rows.first?.first)), called: called, returned: Int(session.now)))
            let calledAgain = Int(session.now)
            if let rows = readers.agreed("SELECT v FROM sim.transactions WHERE k = \(active[slot].key)") {
                active[slot].history.append(
                    RegisterOperation(
                        kind: .read(value(rows.first?.first)), called: calledAgain, returned: Int(session.now)))
            }
            check(active[slot])
        }
    }
}
