/// An operation on a register that holds a number: its call time, its return time, and its effect.
public struct RegisterOperation: CustomStringConvertible, Sendable {
    public enum Kind: Sendable {
        case read(Int)
        /// Found the first value and replaced it by the second.
        case swap(Int, Int)
    }

    public var kind: Kind
    public var called: Int
    /// nil: the outcome is unknown, and the operation may still happen.
    public var returned: Int?

    public init(kind: Kind, called: Int, returned: Int?) {
        self.kind = kind
        self.called = called
        self.returned = returned
    }

    public var description: String { "\(kind) \(called)...\(returned.map(String.init) ?? "?")" }

    /// Returns the register's value after the operation; nil when the operation is impossible with this value before
    /// it.
    func after(_ value: Int) -> Int? {
        switch kind {
        case .read(let seen): seen == value ? value : nil
        case .swap(let old, let new): old == value ? new : nil
        }
    }
}

/// Checks whether a history of register operations is linearizable (Wing and Gong 1993, with the memoization of Lowe
/// 2017).
///
/// 1. An operation may come next if it was called before any remaining operation returned.
/// 2. Operations of unknown outcome may take effect at any time after their call, or never.
/// 3. Each pair of a set of completed operations and a resulting value is searched once.
public struct Linearizability {
    private struct State: Hashable {
        var done: SIMD4<UInt64>
        var value: Int
    }

    private let operations: [RegisterOperation]
    private var seen: Set<State> = []

    /// The greatest number of operations in a history.
    public static let longestHistory = 256

    /// Returns whether the history is linearizable. It may have at most `longestHistory` operations.
    public static func holds(_ operations: [RegisterOperation], initial: Int) -> Bool {
        precondition(operations.count <= longestHistory)
        var checker = Linearizability(operations: operations.sorted { $0.called < $1.called })
        return checker.search(State(done: .zero, value: initial))
    }

    /// Reduces a history that is not linearizable: removes operations while it stays so.
    ///
    /// Operations that returned last are removed first. A read may be removed, and so may a swap whose value no other
    /// operation found: both leave the rest possible.
    public static func shortest(_ operations: [RegisterOperation], initial: Int) -> [RegisterOperation] {
        var kept = operations.sorted { ($0.returned ?? $0.called, $0.called) < ($1.returned ?? $1.called, $1.called) }
        var index = kept.count - 1
        while index >= 0 {
            var fewer = kept
            let left = fewer.remove(at: index)
            if !isFound(left, by: fewer), !holds(fewer, initial: initial) { kept = fewer }
            index -= 1
        }
        return kept.sorted { $0.called < $1.called }
    }

    /// Returns whether other operations found the value a swap wrote.
    private static func isFound(_ operation: RegisterOperation, by others: [RegisterOperation]) -> Bool {
        guard case .swap(_, let new) = operation.kind else { return false }
        return others.contains {
            switch $0.kind {
            case .read(let value): value == new
            case .swap(let old, _): old == new
            }
        }
    }

    private init(operations: [RegisterOperation]) { self.operations = operations }

    private mutating func search(_ state: State) -> Bool {
        guard seen.insert(state).inserted else { return false }
        var horizon = Int.max
        for (index, operation) in operations.enumerated() where !Linearizability.has(state.done, index) {
            horizon = min(horizon, operation.returned ?? .max)
        }
        if horizon == .max { return true }
        for (index, operation) in operations.enumerated() where !Linearizability.has(state.done, index) {
            if operation.called > horizon { break }
            guard let value = operation.after(state.value) else { continue }
            var next = State(done: state.done, value: value)
            next.done[index / 64] |= 1 << UInt64(index % 64)
            if search(next) { return true }
        }
        return false
    }

    private static func has(_ set: SIMD4<UInt64>, _ index: Int) -> Bool {
        set[index / 64] >> UInt64(index % 64) & 1 == 1
    }
}
