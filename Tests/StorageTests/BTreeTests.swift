import DataModel
import Primitives
import Testing

@testable import Storage

@Suite struct BTreeTests {
    /// Random operations on keys of several shapes (random, with a long common prefix, prefixes of each other) agree
    /// with a sorted array.
    @Test(arguments: 0..<12) func agreesWithASortedArray(seed: Int) {
        var random = SeededRandom(seed: UInt64(seed))
        let arena = Arena()
        var tree = BTree()
        var model: [[UInt8]] = []
        let shared = [UInt8](repeating: 0xab, count: seed % 3 * 12)
        for _ in 0..<3000 {
            let length = Int.random(in: seed % 2...9, using: &random)
            let key = shared + (0..<length).map { _ in UInt8.random(in: 0...(seed % 4 == 0 ? 3 : 255), using: &random) }
            key.withUnsafeBytes { raw in
                tree.upsert(raw, in: arena) { _ in Record.make(key: raw, value: raw, in: arena) }
            }
            model.append(key)
        }
        tree.checkInvariants()
        let sorted = Array(Set(model)).sorted { compareBytes($0, $1) < 0 }
        #expect(tree.count == sorted.count)
        for _ in 0..<2000 {
            var key = sorted[Int.random(in: 0..<sorted.count, using: &random)]
            if Bool.random(using: &random) { key.append(UInt8.random(in: 0...255, using: &random)) }
            if Bool.random(using: &random), !key.isEmpty { key.removeLast() }
            key.withUnsafeBytes { raw in
                let lower = sorted.first { compareBytes($0, key) >= 0 }
                let below = sorted.last { compareBytes($0, key) < 0 }
                let floor = sorted.last { compareBytes($0, key) <= 0 }
                #expect(tree.lowerBound(raw).map { [UInt8](tree.record($0).key) } == lower)
                #expect(tree.before(raw).map { [UInt8](tree.record($0).key) } == below)
                #expect(tree.floor(raw).map { [UInt8](tree.record($0).key) } == floor)
                #expect((tree.find(raw) != nil) == (lower == key))
            }
        }
    }

    @Test func ascendingKeysFillLeaves() {
        let arena = Arena()
        var tree = BTree()
        for number in 0..<100_000 {
            withUnsafeBytes(of: UInt64(number).bigEndian) { raw in
                tree.upsert(raw, in: arena) { _ in Record.make(key: raw, value: raw, in: arena) }
            }
        }
        tree.checkInvariants()
        #expect(arena.reservedBytes < 100_000 * 48, "\(arena.reservedBytes) bytes")
    }

    @Test func filterReachesTheRequestedRate() {
        var random = SeededRandom(seed: 1)
        for rate in [0.1, 0.01, 0.001] {
            let hashes = (0..<50_000).map { _ in random.next() }
            let filter = BloomFilter(hashes: hashes, count: hashes.count, falsePositiveRate: rate)
            for hash in hashes { #expect(filter.mayContain(hash)) }
            let wrong = (0..<200_000).reduce(0) { count, _ in count + (filter.mayContain(random.next()) ? 1 : 0) }
            let measured = Double(wrong) / 200_000
            #expect(measured < rate * 1.3, "asked \(rate), measured \(measured)")
            #expect(abs(filter.reachedRate - measured) < rate * 0.3, "said \(filter.reachedRate), measured \(measured)")
        }
    }
}
