import Primitives

extension SeededRandom {
    /// Returns a number from 0 to `bound - 1`. Multiplies instead of using the standard library, whose results may
    /// change with a release. REQUIRES: `bound` above 0.
    mutating func below(_ bound: Int) -> Int {
        precondition(bound > 0, "a choice among \(bound)")
        return Int(next().multipliedFullWidth(by: UInt64(bound)).high)
    }

    /// Returns true with this probability.
    mutating func chance(_ probability: Double) -> Bool {
        Double(next() >> 11) * 0x1p-53 < probability
    }

    mutating func element<T>(of elements: [T]) -> T? { elements.isEmpty ? nil : elements[below(elements.count)] }
}
