/// An operation on a register that holds a number: when it was called, when it returned, and what it did.
public struct RegisterOperation: CustomStringConvertible, Sendable {
    public enum Kind: Sendable {
        case read(Int)
        /// Found the first and put the second in its place.
        case swap(Int, Int)
    }

    public var kind: Kind
    public var called: Int
    /// nil: nobody knows whether it was done, or will be.
    public var returned: Int?

    public init(kind: Kind, called: Int, returned: Int?) {
        self.kind = kind
        self.called = called
        self.returned = returned
    }

    public var description: String { "\(kind) \(called)...\(returned.map(String.init) ?? "?")" }

    /// The value after it; nil when it does not fit the value before.
    func after(_ value: Int) -> Int? {
        switch kind {
        case .read(let seen): seen == value ? value : nil
        case .swap(let old, let new): old == value ? new : nil
        }
    }
}

/// Whether a history has an order that a single register explains (Wing and Gong 1993, with the memory of Lowe 2017).
///
/// 1. An operation may come next when it was called before every one left over has returned.
/// 2. Those whose outcome is unknown may come any time after their call, or never.
/// 3. A set of operations done, with the value it left, is tried once.
public struct Linearizability {
    private struct State: Hashable {
        var done: SIMD4<UInt64>
        var value: Int
    }

    private let operations: [RegisterOperation]
    private var seen: Set<State> = []

    /// Most operations of a history.
    public static let longestHistory = 256

    /// At most `longestHistory` operations.
    public static func holds(_ operations: [RegisterOperation], initial: Int) -> Bool {
        precondition(operations.count <= longestHistory)
        var checker = Linearizability(operations: operations.sorted { $0.called < $1.called })
        return checker.search(State(done: .zero, value: initial))
    }

    /// A history that has no order, without what can be left out while there is still none.
    ///
    /// What returned last goes first. A read may be left out, and a swap whose value nobody found: the rest was possible without it.
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

    /// Whether others found what a swap put.
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

    private static func has(_ set: SIMD4<UInt64>, _ index: Int) -> Bool { set[index / 64] >> UInt64(index % 64) & 1 == 1 }
}
