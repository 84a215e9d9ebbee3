import DataModel
import Primitives
import Testing

@testable import Storage

@Suite struct BlockTests {
    /// Returns a block of `count` entries whose keys share a long prefix, as the rows of one partition do.
    static func block(count: Int) throws -> (block: Block, keys: [[UInt8]]) {
        var writer = BlockWriter(capacity: 4096)
        var keys: [[UInt8]] = []
        for index in 0..<count {
            let key = Array("partition".utf8) + [UInt8(index >> 8), UInt8(index & 0xff)]
            keys.append(key)
            key.withUnsafeBytes { key in withUnsafeBytes(of: UInt32(index)) { writer.add(key: key, value: $0) } }
        }
        let bytes = [UInt8](writer.finish())
        let memory = UnsafeMutableRawPointer.allocate(byteCount: bytes.count, alignment: 16)
        // Never empty.
        bytes.withUnsafeBytes { memory.copyMemory(from: $0.baseAddress.unsafelyUnwrapped, byteCount: bytes.count) }
        return (try Block(owning: memory, count: bytes.count), keys)
    }

    /// Every entry is found, including those at restart points, which store their whole key.
    @Test(arguments: [1, 15, 16, 17, 64, 300]) func everyEntryIsFound(count: Int) throws {
        let (block, keys) = try Self.block(count: count)
        for (index, key) in keys.enumerated() {
            let found = key.withUnsafeBytes { block.find($0) }
            #expect(found?.isExact == true, "entry \(index) of \(count)")
            #expect(found?.value.loadUnaligned(as: UInt32.self) == UInt32(index))
        }
    }

    /// An absent key finds the first entry above it; nil past the end.
    @Test func absentKeyFindsTheNextEntry() throws {
        let (block, keys) = try Self.block(count: 100)
        for (index, key) in keys.enumerated() {
            let between = key + [0]
            let found = between.withUnsafeBytes { block.find($0) }
            if index == 99 {
                #expect(found == nil)
            } else {
                #expect(found?.isExact == false)
                #expect(found?.value.loadUnaligned(as: UInt32.self) == UInt32(index + 1))
            }
        }
    }
}
