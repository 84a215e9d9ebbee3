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

    /// A schema of another node, with good checksums, on which something would trap or which would leave the data
    /// directory.
    @Test func impossibleSchemasAreRefused() throws {
        let key = ColumnMetadata(name: "k", type: .int, kind: .partitionKey, position: 0, id: 0)
        func column(_ name: String, _ kind: ColumnMetadata.Kind = .regular, at position: Int = -1, id: Int)
            -> ColumnMetadata
        {
            ColumnMetadata(name: name, type: .int, kind: kind, position: position, id: id)
        }
        func schema(
            _ columns: [ColumnMetadata], keyspace: String = "ks", table: String = "t", factor: String = "3",
            next: Int? = nil, other: TableMetadata? = nil
        ) -> Schema {
            let table = TableMetadata(
                keyspace: keyspace, name: table, id: UUID(high: 1, low: 2), columns: columns, nextColumnID: next)
            return Schema(keyspaces: [
                KeyspaceMetadata(
                    name: keyspace, replication: ["class": "SimpleStrategy", "replication_factor": factor],
                    holding: [table] + (other.map { [$0] } ?? []))
            ])
        }
        let sameID = TableMetadata(keyspace: "ks", name: "u", id: UUID(high: 1, low: 2), columns: [key])
        let refused: [(String, Schema)] = [
            ("no key", schema([column("v", id: 0)])), ("an id twice", schema([key, column("v", id: 0)])),
            ("a huge id", schema([key, column("v", id: 1 << 20)])), ("a huge next id", schema([key], next: 1 << 29)),
            ("a gap in the partition key", schema([key, column("l", .partitionKey, at: 2, id: 1)])),
            ("a position twice", schema([key, column("l", .partitionKey, at: 0, id: 1)])),
            ("a gap in the clustering key", schema([key, column("c", .clustering, at: 1, id: 1)])),
            ("no position", schema([key, column("c", .clustering, id: 1)])),
            ("another directory", schema([key], keyspace: "..")), ("a path", schema([key], table: "../../x")),
            ("no name", schema([key], table: "")), ("a huge factor", schema([key], factor: "\(Int.max)")),
            ("an id of two tables", schema([key], other: sameID)),
        ]
        for (what, schema) in refused {
            #expect(throws: SchemaDecodingError.self, "\(what)") { try Schema(decoding: schema.encode()) }
        }
        let good = schema([key, column("c", .clustering, at: 0, id: 1), column("v", id: 9)], next: 30)
        #expect(try Schema(decoding: good.encode()).version == good.version)
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
