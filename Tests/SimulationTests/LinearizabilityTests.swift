import Testing

@testable import Simulation

@Suite struct LinearizabilityTests {
    private func swap(_ old: Int, _ new: Int, _ called: Int, _ returned: Int?) -> RegisterOperation {
        RegisterOperation(kind: .swap(old, new), called: called, returned: returned)
    }

    private func read(_ value: Int, _ called: Int, _ returned: Int) -> RegisterOperation {
        RegisterOperation(kind: .read(value), called: called, returned: returned)
    }

    @Test func acceptsLinearizableAndRefusesOtherHistories() {
        #expect(Linearizability.holds([], initial: 0))
        #expect(Linearizability.holds([swap(0, 1, 1, 4), read(0, 2, 3), read(1, 5, 6)], initial: 0))
        #expect(Linearizability.holds([swap(0, 1, 1, 4), read(1, 2, 3)], initial: 0))
        // A value that goes back.
        #expect(!Linearizability.holds([swap(0, 1, 1, 6), read(1, 2, 3), read(0, 4, 5)], initial: 0))
        // Two swaps that read the same old value.
        #expect(!Linearizability.holds([swap(0, 1, 1, 4), swap(0, 1, 2, 3)], initial: 0))
        // A swap with unknown outcome may take effect late or never.
        #expect(Linearizability.holds([swap(0, 1, 1, nil), read(0, 2, 3), read(1, 4, 5)], initial: 0))
        #expect(Linearizability.holds([swap(0, 1, 1, nil), read(0, 2, 3), read(0, 4, 5)], initial: 0))
        #expect(!Linearizability.holds([swap(0, 1, 4, nil), read(1, 2, 3)], initial: 0))
    }

    @Test func irrelevantOperationsAreLeftOut() {
        let history = [
            swap(0, 1, 1, 2), read(1, 3, 4), swap(1, 2, 5, 6), read(2, 7, 8), read(1, 9, 10), swap(2, 3, 11, 12),
            swap(3, 4, 13, nil),
        ]
        #expect(!Linearizability.holds(history, initial: 0))
        #expect(
            Linearizability.shortest(history, initial: 0).map(\.description)
                == ["swap(0, 1) 1...2", "swap(1, 2) 5...6", "read(1) 9...10"])
    }
}
