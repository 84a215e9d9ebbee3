import Testing

/// An operation on a register that holds a number: when it was called, when it returned, and what it did.
struct RegisterOperation: CustomStringConvertible {
    enum Kind {
        case read(Int)
        /// Found the first and put the second in its place.
        case swap(Int, Int)
    }

    var kind: Kind
    var called: Int
    /// nil: nobody knows whether it was done, or will be.
    var returned: Int?

    var description: String { "\(kind) \(called)...\(returned.map(String.init) ?? "?")" }

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
struct Linearizability {
    private struct State: Hashable {
        var done: SIMD4<UInt64>
        var value: Int
    }

    private let operations: [RegisterOperation]
    private var seen: Set<State> = []

    /// At most 256 operations.
    static func holds(_ operations: [RegisterOperation], initial: Int) -> Bool {
        precondition(operations.count <= 256)
        var checker = Linearizability(operations: operations.sorted { $0.called < $1.called })
        return checker.search(State(done: .zero, value: initial))
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

@Suite struct LinearizabilityTests {
    private func swap(_ old: Int, _ new: Int, _ called: Int, _ returned: Int?) -> RegisterOperation {
        RegisterOperation(kind: .swap(old, new), called: called, returned: returned)
    }

    private func read(_ value: Int, _ called: Int, _ returned: Int) -> RegisterOperation {
        RegisterOperation(kind: .read(value), called: called, returned: returned)
    }

    @Test func knowsGoodFromBad() {
        #expect(Linearizability.holds([], initial: 0))
        #expect(Linearizability.holds([swap(0, 1, 1, 4), read(0, 2, 3), read(1, 5, 6)], initial: 0))
        #expect(Linearizability.holds([swap(0, 1, 1, 4), read(1, 2, 3)], initial: 0))
        // A value that goes back.
        #expect(!Linearizability.holds([swap(0, 1, 1, 6), read(1, 2, 3), read(0, 4, 5)], initial: 0))
        // Two that found the same.
        #expect(!Linearizability.holds([swap(0, 1, 1, 4), swap(0, 1, 2, 3)], initial: 0))
        // One of unknown outcome, done late, or never.
        #expect(Linearizability.holds([swap(0, 1, 1, nil), read(0, 2, 3), read(1, 4, 5)], initial: 0))
        #expect(Linearizability.holds([swap(0, 1, 1, nil), read(0, 2, 3), read(0, 4, 5)], initial: 0))
        #expect(!Linearizability.holds([swap(0, 1, 4, nil), read(1, 2, 3)], initial: 0))
    }
}
