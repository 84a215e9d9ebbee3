import DataModel
import Primitives
import Testing

@testable import Storage

@Suite("Searching a block") struct BlockFindTests {
    static func block(_ keys: [[UInt8]]) throws -> Block {
        var writer = BlockWriter(capacity: 4096)
        for (index, key) in keys.enumerated() {
            key.withUnsafeBytes { raw in
                withUnsafeBytes(of: UInt32(index)) { writer.add(key: raw, value: $0) }
            }
        }
        let bytes = writer.finish()
        let memory = UnsafeMutableRawPointer.allocate(byteCount: bytes.count, alignment: 16)
        memory.copyMemory(from: bytes.baseAddress.unsafelyUnwrapped, byteCount: bytes.count)
        return try Block(owning: memory, count: bytes.count)
    }

    @Test("every key is found, and an absent key finds the next entry", arguments: [UInt64(1), 2, 3, 4])
    func everyKey(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        for count in [0, 1, 2, 15, 16, 17, 32, 33, 200] {
            // Few distinct bytes, so that neighbouring keys share long prefixes.
            var distinct: Set<[UInt8]> = []
            while distinct.count < count {
                distinct.insert(
                    (0..<Int.random(in: 1...12, using: &random)).map { _ in UInt8.random(in: 0...2, using: &random) })
            }
            let keys = distinct.sorted { $0.lexicographicallyPrecedes($1) }
            let block = try Self.block(keys)
            for _ in 0..<500 {
                let wanted: [UInt8] =
                    keys.isEmpty || Bool.random(using: &random)
                    ? (0..<Int.random(in: 0...13, using: &random)).map { _ in UInt8.random(in: 0...2, using: &random) }
                    : keys[Int.random(in: 0..<keys.count, using: &random)]
                let expected = keys.firstIndex { !$0.lexicographicallyPrecedes(wanted) }
                wanted.withUnsafeBytes { raw in
                    let found = block.find(raw)
                    #expect(
                        found.map { Int($0.value.loadUnaligned(as: UInt32.self)) } == expected, "seed \(seed) \(wanted)"
                    )
                    #expect(
                        found?.isExact ?? false == (expected.map { keys[$0] == wanted } ?? false),
                        "seed \(seed) \(wanted)")
                }
            }
            for key in keys { key.withUnsafeBytes { #expect(block.find($0)?.isExact == true) } }
        }
    }
}
