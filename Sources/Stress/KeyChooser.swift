import Glibc
import Primitives

/// Chooses the row of each operation of one connection.
struct KeyChooser: Sendable {
    private let rows: Int
    private let distribution: StressOptions.Distribution
    private let stride: Int
    private var next: Int
    private var random: SeededRandom
    private let zipf: ZipfLaw?

    /// - Parameters:
    ///   - index: the number of the connection; with sequential keys, connections take rows in turn.
    ///   - zipf: shared by all connections, because computing its constant takes a pass over the rows.
    init(
        _ distribution: StressOptions.Distribution, rows: Int, index: Int, connections: Int, seed: UInt64,
        zipf: ZipfLaw?
    ) {
        self.rows = rows
        self.distribution = distribution
        self.zipf = zipf
        stride = connections
        next = index
        random = SeededRandom(seed: seed &* 1_000_003 &+ UInt64(index))
    }

    mutating func row() -> Int {
        switch distribution {
        case .sequential:
            let row = next
            next += stride
            return row < rows ? row : row % rows
        case .uniform: return below(rows)
        case .zipf:
            guard let zipf else { return below(rows) }
            // Spread popular rows over the key space instead of placing them next to each other.
            let rank = zipf.rank(unit())
            var mixer = SeededRandom(seed: UInt64(rank))
            return Int(mixer.next() % UInt64(rows))
        }
    }

    /// Returns true with probability `share`.
    mutating func happens(_ share: Double) -> Bool { unit() < share }

    private mutating func unit() -> Double { Double(random.next() >> 11) * 0x1p-53 }

    private mutating func below(_ limit: Int) -> Int { Int(random.next().multipliedFullWidth(by: UInt64(limit)).high) }
}

/// Zipf's law with exponent 0.99 (Gray et al., "Quickly Generating Billion-Record Synthetic Databases", 1994).
struct ZipfLaw: Sendable {
    private let count: Double
    private let theta = 0.99
    private let zeta: Double
    private let alpha: Double
    private let eta: Double

    init(_ rows: Int) {
        count = Double(rows)
        var sum = 0.0
        for rank in 1...rows { sum += pow(1 / Double(rank), theta) }
        zeta = sum
        alpha = 1 / (1 - theta)
        let zeta2 = 1 + pow(0.5, theta)
        eta = (1 - pow(2 / count, 1 - theta)) / (1 - zeta2 / zeta)
    }

    /// Returns the rank, from 0, for a number in 0..<1.
    func rank(_ unit: Double) -> Int {
        let scaled = unit * zeta
        if scaled < 1 { return 0 }
        if scaled < 1 + pow(0.5, theta) { return min(1, Int(count) - 1) }
        return min(Int(count) - 1, Int(count * pow(eta * unit - eta + 1, alpha)))
    }
}
