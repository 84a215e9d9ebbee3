import DataModel
import Fixtures
import Platform
import Primitives
import Testing

@testable import Storage

/// Pins the bytes of every file format: a change needs a new version.
@Suite struct FormatTests {
    static func checksum(_ bytes: [UInt8]) -> String { String(Checksum.xxh3(bytes), radix: 16) }

    static func mutation() -> [UInt8] {
        var writer = MutationWriter()
        Sample.put(Sample.key(1, 2), 3, [0xab], into: &writer)
        Sample.delete(.prefix(Sample.partition(1)), 4, 5, into: &writer)
        return writer.out.toArray()
    }

    @Test func mutationAndRow() {
        #expect(
            hex(Self.mutation())
                == "000000000000000100000000000000022a00000001140000000d000000478499982ae4e0cf000400000001204080000002"
                + "010300000000000000000101ab0000000000000001000000000000000232000000020e0000000f000000478499982ae4e0cf"
                + "000400000001478499982ae4e0cf000400000001ff040000000000000005000000")
    }

    @Test func manifest() throws {
        var manifest = Manifest()
        manifest.flushed = LogPosition(segment: 3, offset: 40)
        manifest.tables = [12, 7]
        let text = String(decoding: manifest.encode(), as: UTF8.self)
        #expect(text == "auspex manifest 1\nflushed 3 40\ntable 7\ntable 12\nchecksum 46de79a6059fc32d\n")
        #expect(try Manifest(decoding: manifest.encode(), path: "m").flushed == manifest.flushed)
        var other = Array(text.utf8)
        for index in other.indices {
            other[index] ^= 1
            #expect(throws: StorageError.self, "byte \(index)") { try Manifest(decoding: other, path: "m") }
            other[index] ^= 1
        }
    }

    @Test func commitLogSegment() throws {
        let system = MemoryFileSystem()
        try system.createDirectory("log")
        var options = CommitLogOptions()
        options.segmentBytes = 4096
        options.boot = 9
        let log = try CommitLog(system: system, directory: "log", options: options, existing: [])
        try Self.mutation().withUnsafeBytes { raw in Result { _ = try log.append(raw) } }.get()
        try log.sync()
        try Self.mutation().withUnsafeBytes { raw in Result { _ = try log.append(raw) } }.get()
        try log.close()
        let bytes = try system.readAll("log/0000000000000001.log")
        #expect(bytes.count == 4096)
        #expect(Self.checksum(bytes) == "67a577b5f31d09c1")
    }

    @Test func sstable() throws {
        let system = MemoryFileSystem()
        let found = Self.checksum(try SSTableDamageTests.make(system, codec: 0))
        #expect(found == "cb75b0c7d86c1f1f")
    }
}
