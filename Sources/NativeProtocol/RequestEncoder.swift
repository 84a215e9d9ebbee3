import DataModel
import Primitives

/// Appends requests to a client's outgoing bytes. With v5, after the handshake, pass those through a `SegmentEncoder`.
public struct RequestEncoder: Sendable {
    public var version: ProtocolVersion
    /// Whether to request tracing for the following requests.
    public var tracing = false

    public init(version: ProtocolVersion) { self.version = version }

    private func begin(_ opcode: Opcode, _ stream: Int16, into out: inout ByteWriter) -> Int {
        let start = out.count
        out.write(version.rawValue)
        out.write(tracing ? FrameFlag.tracing : 0)
        out.writeBE(stream)
        out.write(opcode.rawValue)
        out.writeBE(UInt32(0))
        return start
    }

    private func finish(_ start: Int, into out: inout ByteWriter) {
        out.patchBE(UInt32(out.count - start - FrameHeader.size), at: start + 5)
    }

    public func startup(_ options: StartupOptions, stream: Int16, into out: inout ByteWriter) {
        let start = begin(.startup, stream, into: &out)
        out.writeBE(UInt16(options.all.count))
        for (key, value) in options.all.sorted(by: { $0.key < $1.key }) {
            out.writeString(key)
            out.writeString(value)
        }
        finish(start, into: &out)
    }

    public func options(stream: Int16, into out: inout ByteWriter) {
        finish(begin(.options, stream, into: &out), into: &out)
    }

    public func authResponse(_ token: [UInt8]?, stream: Int16, into out: inout ByteWriter) {
        let start = begin(.authResponse, stream, into: &out)
        out.writeBytes(token)
        finish(start, into: &out)
    }

    public func register(_ kinds: [ServerEvent.Kind], stream: Int16, into out: inout ByteWriter) {
        let start = begin(.register, stream, into: &out)
        out.writeStringList(kinds.map(\.rawValue))
        finish(start, into: &out)
    }

    public func query(_ text: String, _ options: QueryOptions, stream: Int16, into out: inout ByteWriter) {
        let start = begin(.query, stream, into: &out)
        out.writeLongString(text)
        writeOptions(options, into: &out)
        finish(start, into: &out)
    }

    public func prepare(_ text: String, keyspace: String? = nil, stream: Int16, into out: inout ByteWriter) {
        let start = begin(.prepare, stream, into: &out)
        out.writeLongString(text)
        if version >= .v5 {
            out.writeBE(UInt32(keyspace == nil ? 0 : 1))
            if let keyspace { out.writeString(keyspace) }
        }
        finish(start, into: &out)
    }

    public func execute(
        _ statement: PreparedDescription, _ options: QueryOptions, stream: Int16, into out: inout ByteWriter
    ) {
        let start = begin(.execute, stream, into: &out)
        out.writeShortBytes(statement.id)
        if version >= .v5 { out.writeShortBytes(statement.resultMetadataID) }
        writeOptions(options, into: &out)
        finish(start, into: &out)
    }

    /// Appends a BATCH that executes one prepared statement for each value list.
    public func batch(
        _ kind: BatchRequest.Kind, _ statement: PreparedDescription, _ rows: [ValueList], _ options: QueryOptions,
        stream: Int16,
        into out: inout ByteWriter
    ) {
        precondition(rows.count <= Int(UInt16.max), "a batch of \(rows.count) statements")
        let start = begin(.batch, stream, into: &out)
        out.write(kind.rawValue)
        out.writeBE(UInt16(rows.count))
        for row in rows {
            out.write(UInt8(1))
            out.writeShortBytes(statement.id)
            writeValues(row, areNamed: false, into: &out)
        }
        out.writeBE(options.consistency.rawValue)
        let flags = tailFlags(options)
        if version >= .v5 { out.writeBE(flags) } else { out.write(UInt8(truncatingIfNeeded: flags)) }
        writeTail(options, into: &out)
        finish(start, into: &out)
    }

    private func tailFlags(_ options: QueryOptions) -> UInt32 {
        var flags: UInt32 = 0
        if options.serialConsistency != nil { flags |= QueryFlag.serialConsistency }
        if options.defaultTimestamp != nil { flags |= QueryFlag.defaultTimestamp }
        if version >= .v5 {
            if options.keyspace != nil { flags |= QueryFlag.keyspace }
            if options.nowInSeconds != nil { flags |= QueryFlag.nowInSeconds }
        }
        return flags
    }

    private func writeOptions(_ options: QueryOptions, into out: inout ByteWriter) {
        var flags = tailFlags(options)
        let areNamed = !options.values.names.isEmpty
        if !options.values.isEmpty { flags |= QueryFlag.values }
        if areNamed { flags |= QueryFlag.namedValues }
        if options.skipMetadata { flags |= QueryFlag.skipMetadata }
        if options.pageSize != nil { flags |= QueryFlag.pageSize }
        if options.pagingState != nil { flags |= QueryFlag.pagingState }
        out.writeBE(options.consistency.rawValue)
        if version >= .v5 { out.writeBE(flags) } else { out.write(UInt8(truncatingIfNeeded: flags)) }
        if !options.values.isEmpty { writeValues(options.values, areNamed: areNamed, into: &out) }
        if let size = options.pageSize { out.writeBE(Int32(clamping: size)) }
        if let state = options.pagingState { out.writeBytes(state) }
        writeTail(options, into: &out)
    }

    private func writeTail(_ options: QueryOptions, into out: inout ByteWriter) {
        if let level = options.serialConsistency { out.writeBE(level.rawValue) }
        if let timestamp = options.defaultTimestamp { out.writeBE(timestamp) }
        guard version >= .v5 else { return }
        if let keyspace = options.keyspace { out.writeString(keyspace) }
        if let now = options.nowInSeconds { out.writeBE(now) }
    }

    private func writeValues(_ values: ValueList, areNamed: Bool, into out: inout ByteWriter) {
        precondition(values.count <= Int(UInt16.max), "\(values.count) values in one request")
        out.writeBE(UInt16(values.count))
        values.bytes.withUnsafeBytes { bytes in
            for (index, entry) in values.entries.enumerated() {
                if areNamed { out.writeString(values.names[index]) }
                switch entry {
                case .null: out.writeBE(Int32(-1))
                case .unset: out.writeBE(Int32(-2))
                case .value(let range):
                    out.writeBE(Int32(range.count))
                    out.write(UnsafeRawBufferPointer(rebasing: bytes[range]))
                }
            }
        }
    }
}
