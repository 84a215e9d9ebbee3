import Primitives

/// Random choices determined by a seed.
public struct Chance: Sendable {
    public var generator: SeededRandom

    public init(seed: UInt64) { generator = SeededRandom(seed: seed) }

    public mutating func next() -> UInt64 { generator.next() }

    /// Returns a random number in the range.
    public mutating func int(_ range: ClosedRange<Int>) -> Int {
        range.lowerBound + Int(generator.next() % UInt64(range.count))
    }

    public mutating func nanoseconds(_ range: ClosedRange<UInt64>) -> UInt64 {
        range.lowerBound + generator.next() % (range.upperBound - range.lowerBound + 1)
    }

    /// Returns true with this probability.
    public mutating func happens(_ probability: Double) -> Bool {
        probability > 0 && Double(generator.next() >> 11) / Double(1 << 53) < probability
    }

    /// Returns a random element. REQUIRES: `elements` is not empty.
    public mutating func pick<Element>(_ elements: [Element]) -> Element { elements[int(0...elements.count - 1)] }

    public mutating func shuffled<Element>(_ elements: [Element]) -> [Element] {
        var rest = elements
        guard rest.count > 1 else { return rest }
        for index in (1..<rest.count).reversed() { rest.swapAt(index, int(0...index)) }
        return rest
    }
}
