import Primitives

/// Why a persisted schema could not be decoded.
public enum SchemaDecodingError: Error, Equatable {
    /// Not a schema, or an unknown format version.
    case unknownFormat(found: [UInt8])
    /// The stored checksum does not match the bytes.
    case checksumMismatch
    /// The bytes end early or a count is impossible.
    case malformed(ByteError)
    /// A type, kind or other value is not valid.
    case invalid(String)
}

// The persisted form. Part of the file format, do not change:
//
//     schema   := magic version body checksum            "AXSC", 1 byte, xxh3 (8 bytes BE) of all before
//     body     := count keyspace*                        counts and lengths are varints; strings are length, UTF-8
//     keyspace := name flags(1) map count table*         ordered by name, without system keyspaces;
//                                                        flags: 1 durable writes, 2 sloppy quorum
//     table    := name id(16) nextColumnID options count column*
//     column   := name type kind(1) position+1 descending(1) id
//     options  := count (name value)*                    as in CQL, maps flattened (TableOptions.flattened)
extension Schema {
    private static let magic: [UInt8] = [0x41, 0x58, 0x53, 0x43, 1]

    /// Encodes the schema for storage, without system keyspaces.
    public func encode() -> [UInt8] { Self.encodeContents(of: keyspaces) }

    static func encodeContents(of keyspaces: [String: KeyspaceMetadata]) -> [UInt8] {
        var writer = ByteWriter(capacity: 4096)
        writer.write(magic)
        let own = keyspaces.values.filter { !isSystem($0.name) }.sorted { $0.name < $1.name }
        writer.writeVarint(own.count)
        for keyspace in own { encode(keyspace, &writer) }
        writer.writeBE(Checksum.xxh3(writer.bytes))
        return writer.toArray()
    }

    /// - Parameter system: system keyspaces to add to the decoded ones.
    public init(decoding bytes: [UInt8], adding system: [KeyspaceMetadata] = []) throws(SchemaDecodingError) {
        let magic = Self.magic
        guard bytes.count >= magic.count + 8, Array(bytes.prefix(magic.count)) == magic else {
            throw .unknownFormat(found: Array(bytes.prefix(magic.count)))
        }
        let body = Array(bytes.dropLast(8))
        let expected = bytes.suffix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard Checksum.xxh3(body) == expected else { throw .checksumMismatch }
        let keyspaces = try body.withReader { (reader) throws(SchemaDecodingError) -> [KeyspaceMetadata] in
            do throws(ByteError) { try reader.skip(magic.count) } catch { throw .malformed(error) }
            var decoder = SchemaDecoder(reader: reader)
            return try decoder.keyspaces()
        }
        self.init(keyspaces: keyspaces + system)
    }

    private static func encode(_ text: String, _ writer: inout ByteWriter) {
        writer.writeVarint(text.utf8.count)
        writer.write(text)
    }

    private static func encode(_ map: [String: String], _ writer: inout ByteWriter) {
        writer.writeVarint(map.count)
        for (key, value) in map.sorted(by: { $0.key < $1.key }) {
            encode(key, &writer)
            encode(value, &writer)
        }
    }

    private static func encode(_ keyspace: KeyspaceMetadata, _ writer: inout ByteWriter) {
        encode(keyspace.name, &writer)
        // Bit 0: durable writes; bit 1: sloppy quorum.
        writer.write((keyspace.durableWrites ? 1 : 0) | (keyspace.sloppyQuorum ? 2 : 0))
        encode(keyspace.replication, &writer)
        writer.writeVarint(keyspace.tables.count)
        for table in keyspace.sortedTables { encode(table, &writer) }
    }

    private static func encode(_ table: TableMetadata, _ writer: inout ByteWriter) {
        encode(table.name, &writer)
        writer.write(table.id.bytes)
        writer.writeVarint(table.nextColumnID)
        encode(table.options.flattened, &writer)
        writer.writeVarint(table.columns.count)
        for column in table.columns {
            encode(column.name, &writer)
            encode(column.type.description, &writer)
            writer.write(column.kind.persisted)
            writer.writeVarint(column.position + 1)
            writer.write(column.isDescending ? 1 : 0)
            writer.writeVarint(column.id)
        }
    }

    /// Whether two tables have the same definition.
    static func haveSameDefinition(_ a: TableMetadata, _ b: TableMetadata) -> Bool {
        if a === b { return true }
        var first = ByteWriter(capacity: 1024)
        encode(a, &first)
        var second = ByteWriter(capacity: 1024)
        encode(b, &second)
        return first.toArray() == second.toArray()
    }
}

extension ColumnMetadata.Kind {
    /// Part of the file format, do not change.
    fileprivate var persisted: UInt8 {
        switch self {
        case .partitionKey: 0
        case .clustering: 1
        case .static: 2
        case .regular: 3
        }
    }

    fileprivate init?(persisted: UInt8) {
        switch persisted {
        case 0: self = .partitionKey
        case 1: self = .clustering
        case 2: self = .static
        case 3: self = .regular
        default: return nil
        }
    }
}

private struct SchemaDecoder {
    var reader: ByteReader
    private var ids: Set<UUID> = []

    init(reader: ByteReader) { self.reader = reader }

    mutating func read<R>(_ body: (inout ByteReader) throws(ByteError) -> R) throws(SchemaDecodingError) -> R {
        do throws(ByteError) { return try body(&reader) } catch { throw .malformed(error) }
    }

    mutating func count() throws(SchemaDecodingError) -> Int {
        let start = reader.offset
        let value = try read { (r) throws(ByteError) in try r.readCount() }
        // Every counted item takes at least one byte, so a larger count is damage. Refuse it before it sizes an
        // allocation.
        guard value <= reader.count else {
            throw .malformed(.truncated(offset: start, needed: value, available: reader.remaining))
        }
        return value
    }

    mutating func number() throws(SchemaDecodingError) -> Int {
        let value = try read { (r) throws(ByteError) in try r.readCount() }
        guard value <= 1 << 30 else { throw .invalid("number \(value)") }
        return value
    }

    mutating func byte() throws(SchemaDecodingError) -> UInt8 { try read { (r) throws(ByteError) in try r.readU8() } }

    mutating func text() throws(SchemaDecodingError) -> String {
        let length = try count()
        return String(decoding: try read { (r) throws(ByteError) in try r.readArray(length) }, as: UTF8.self)
    }

    mutating func map() throws(SchemaDecodingError) -> [String: String] {
        var map: [String: String] = [:]
        for _ in 0..<(try count()) {
            let key = try text()
            map[key] = try text()
        }
        return map
    }

    mutating func keyspaces() throws(SchemaDecodingError) -> [KeyspaceMetadata] {
        var keyspaces: [KeyspaceMetadata] = []
        for _ in 0..<(try count()) {
            let name = try name("keyspace")
            let flags = try byte()
            guard flags <= 3 else { throw .invalid("flags of keyspace \(name)") }
            let replication = try map()
            for (key, value) in replication where key != "class" {
                // Factors are added up.
                if let factor = Int(value.prefix { $0 != "/" }), Int32(exactly: factor) == nil {
                    throw .invalid("a replication factor of \(value) in keyspace \(name)")
                }
            }
            var tables: [String: TableMetadata] = [:]
            for _ in 0..<(try count()) {
                let table = try self.table(in: name)
                tables[table.name] = table
            }
            keyspaces.append(
                KeyspaceMetadata(
                    name: name, replication: replication, durableWrites: flags & 1 != 0, sloppyQuorum: flags & 2 != 0,
                    tables: tables))
        }
        guard reader.isAtEnd else { throw .invalid("\(reader.remaining) bytes after the last keyspace") }
        return keyspaces
    }

    /// Reads the name of a keyspace or table, which is also that of a directory.
    mutating func name(_ what: String) throws(SchemaDecodingError) -> String {
        let name = try text()
        guard Identifier.isValidName(name) else { throw .invalid("'\(name)' as the name of a \(what)") }
        return name
    }

    /// Checks what everything relies on that refers to columns by id or position.
    private func check(_ columns: [ColumnMetadata], next: Int, _ table: String) throws(SchemaDecodingError) {
        guard columns.count <= TableMetadata.columnLimit else { throw .invalid("\(columns.count) columns of \(table)") }
        let ids = Set(columns.map(\.id))
        guard ids.count == columns.count, max(next, (ids.max() ?? 0) + 1) <= TableMetadata.columnIDLimit else {
            throw .invalid("the column ids of \(table)")
        }
        func positions(_ kind: ColumnMetadata.Kind) -> [Int] {
            columns.filter { $0.kind == kind }.map(\.position).sorted()
        }
        let (partition, clustering) = (positions(.partitionKey), positions(.clustering))
        guard !partition.isEmpty, partition == Array(partition.indices), clustering == Array(clustering.indices) else {
            throw .invalid("the key columns of \(table)")
        }
    }

    mutating func table(in keyspace: String) throws(SchemaDecodingError) -> TableMetadata {
        let name = try name("table")
        guard let id = UUID(bytes: try read { (r) throws(ByteError) in try r.readArray(16) }) else {
            throw .invalid("id of \(name)")
        }
        guard ids.insert(id).inserted else { throw .invalid("two tables with the id \(id)") }
        let next = try number()
        let flattened = try map()
        let options: TableOptions
        do throws(ServerError) { options = try TableOptions(flattened: flattened) } catch {
            throw .invalid(error.message)
        }
        var columns: [ColumnMetadata] = []
        var names: Set<String> = []
        for _ in 0..<(try count()) {
            let column = try self.column()
            guard names.insert(column.name).inserted else {
                throw .invalid("column \(column.name) twice in \(keyspace).\(name)")
            }
            columns.append(column)
        }
        try check(columns, next: next, "\(keyspace).\(name)")
        return TableMetadata(
            keyspace: keyspace, name: name, id: id, columns: columns, options: options, nextColumnID: next)
    }

    mutating func column() throws(SchemaDecodingError) -> ColumnMetadata {
        let name = try text()
        let typeText = try text()
        guard let type = CQLType.parse(typeText) else { throw .invalid("type \(typeText) of column \(name)") }
        let kindByte = try byte()
        guard let kind = ColumnMetadata.Kind(persisted: kindByte) else {
            throw .invalid("kind \(kindByte) of column \(name)")
        }
        let position = try number() - 1
        let isDescending = try byte() != 0
        return ColumnMetadata(
            name: name, type: type, kind: kind, position: position, isDescending: isDescending, id: try number())
    }
}
