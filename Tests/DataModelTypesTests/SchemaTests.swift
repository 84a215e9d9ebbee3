import Primitives
import Testing

@testable import DataModel

@Suite struct SchemaTests {
    private func sample() throws -> Schema {
        var options = TableOptions()
        try options.set([
            ("comment", .text("it's")),
            ("compaction", .map(["class": "LeveledCompactionStrategy", "sstable_size_in_mb": "100"])),
            ("compression", .map(["class": "ZstdCompressor", "compression_level": "5"])),
            ("default_time_to_live", .text("60")),
            ("caching", .map(["keys": "NONE", "rows_per_partition": "10"])),
            ("speculative_retry", .text("MIN(99p, 50ms)")),
        ])
        let table = TableMetadata(
            keyspace: "ks", name: "t", id: UUID(high: 1, low: 2),
            columns: [
                ColumnMetadata(name: "v", type: .map(.text, .frozen(.list(.int))), kind: .regular, id: 3),
                ColumnMetadata(name: "c", type: .int, kind: .clustering, position: 0, isDescending: true, id: 1),
                ColumnMetadata(name: "k", type: .text, kind: .partitionKey, position: 0, id: 0),
                ColumnMetadata(name: "s", type: .tuple([.int, .text]), kind: .static, id: 2),
            ], options: options)
        return Schema(keyspaces: [
            KeyspaceMetadata(
                name: "ks",
                replication: ["class": "org.apache.cassandra.locator.SimpleStrategy", "replication_factor": "1"],
                holding: [table]),
            KeyspaceMetadata(name: "system", replication: [:]),
        ])
    }

    @Test func schemaRoundTrips() throws {
        let schema = try sample()
        let decoded = try Schema(
            decoding: schema.encode(), adding: [KeyspaceMetadata(name: "system", replication: [:])])
        #expect(decoded.version == schema.version)
        #expect(decoded.encode() == schema.encode())
        let table = try #require(decoded.table("ks", "t"))
        let original = try #require(schema.table("ks", "t"))
        #expect(table.columns == original.columns)
        #expect(table.options == original.options)
        #expect(table.createStatement == original.createStatement)
        #expect(decoded.keyspace("system") != nil)
    }

    @Test func truncationAndFlippedBitsAreDetected() throws {
        let bytes = try sample().encode()
        for length in 0..<bytes.count {
            #expect(throws: SchemaDecodingError.self) { try Schema(decoding: Array(bytes.prefix(length))) }
        }
        for index in bytes.indices {
            for bit in 0..<8 {
                var damaged = bytes
                damaged[index] ^= 1 << UInt8(bit)
                #expect(throws: SchemaDecodingError.self) { try Schema(decoding: damaged) }
            }
        }
    }

    @Test func damageUnderAValidChecksumDoesNotTrap() throws {
        let bytes = try sample().encode()
        var random = SeededRandom(seed: 3)
        var decoded = 0
        var refused = 0
        for _ in 0..<3000 {
            var damaged = Array(bytes.dropLast(8))
            for _ in 0..<3 {
                damaged[5 + Int(random.next() % UInt64(damaged.count - 5))] = UInt8(truncatingIfNeeded: random.next())
            }
            let sum = Checksum.xxh3(damaged)
            damaged += CQLType.bigEndian(sum)
            do throws(SchemaDecodingError) { decoded += try Schema(decoding: damaged).keyspaces.count } catch {
                refused += 1
            }
        }
        #expect(refused > 1000 && decoded > 0)
    }

    @Test func columnIDsAreNotReused() throws {
        let table = try #require(try sample().table("ks", "t"))
        let changed = table.dropping(column: "v").adding(column: "v", type: .int, isStatic: false)
        #expect(changed.column(named: "v")?.id == 4)
        #expect(changed.nextColumnID == 5)
        #expect(changed.columns.map(\.name) == ["k", "c", "s", "v"])
    }

    @Test func versionDependsOnTheContentsOnly() throws {
        let schema = try sample()
        #expect(try sample().version == schema.version)
        #expect(schema.removing(table: "t", in: "ks").version != schema.version)
        #expect(schema.removing(keyspace: "system").version == schema.version)
    }

    @Test(arguments: [
        ("a", "a"), ("a_1", "a_1"), ("A", "\"A\""), ("1a", "\"1a\""), ("select", "\"select\""), ("a\"b", "\"a\"\"b\""),
        ("", "\"\""),
        ("key", "key"),
    ]) func quoting(_ name: String, _ quoted: String) { #expect(Identifier.quoted(name) == quoted) }
}
