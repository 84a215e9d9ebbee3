import DataModel
import Primitives

/// The kinds of RESULT (native_protocol_v5.spec, 4.2.5). Part of the protocol; do not change.
enum ResultKind {
    static let void: Int32 = 1
    static let rows: Int32 = 2
    static let setKeyspace: Int32 = 3
    static let prepared: Int32 = 4
    static let schemaChange: Int32 = 5
}

/// Bits of the flags of result metadata. Part of the protocol; do not change.
enum MetadataFlag {
    static let globalTableSpec: Int32 = 0x01
    static let hasMorePages: Int32 = 0x02
    static let noMetadata: Int32 = 0x04
    static let metadataChanged: Int32 = 0x08
}

extension ResponseEncoder {
    /// Appends the result of a statement.
    /// - Parameters:
    ///   - skipMetadata: the request's flag; ignored when the metadata changed.
    ///   - changedMetadataID: v5: the current result metadata id, if the client's id is outdated.
    public mutating func result(
        _ result: borrowing StatementResult, _ head: ResponseHead, skipMetadata: Bool = false,
        changedMetadataID: [UInt8]? = nil,
        into out: inout ByteWriter
    ) {
        let start = begin(.result, head, into: &out)
        switch result {
        case .void: out.writeBE(ResultKind.void)
        case .rows(let rows):
            out.writeBE(ResultKind.rows)
            let changed = version >= .v5 ? changedMetadataID : nil
            writeMetadata(
                rows.metadata.columns, rows.pagingState, isSkipped: skipMetadata && changed == nil, changed, into: &out)
            out.writeBE(Int32(rows.rowCount))
            out.write(rows.cells)
        case .setKeyspace(let name):
            out.writeBE(ResultKind.setKeyspace)
            out.writeString(name)
        case .schemaChange(let change):
            out.writeBE(ResultKind.schemaChange)
            write(change, into: &out)
        }
        finish(start, into: &out)
    }

    /// Appends RESULT Void directly; it is the most frequent response.
    public mutating func void(stream: Int16, into out: inout ByteWriter) {
        out.reserve(13)
        out.write(version.rawValue | 0x80)
        out.write(UInt8(0))
        out.writeBE(stream)
        out.write(Opcode.result.rawValue)
        out.writeBE(UInt32(4))
        out.writeBE(ResultKind.void)
    }

    /// Appends the response to PREPARE.
    public mutating func prepared(_ statement: PreparedDescription, _ head: ResponseHead, into out: inout ByteWriter) {
        let start = begin(.result, head, into: &out)
        out.writeBE(ResultKind.prepared)
        out.writeShortBytes(statement.id)
        if version >= .v5 { out.writeShortBytes(statement.resultMetadataID) }
        let isGlobal = ResponseEncoder.haveOneTable(statement.markers)
        out.writeBE(isGlobal ? MetadataFlag.globalTableSpec : 0)
        out.writeBE(Int32(statement.markers.count))
        out.writeBE(Int32(statement.partitionKeyMarkers.count))
        for marker in statement.partitionKeyMarkers { out.writeBE(marker) }
        writeColumns(statement.markers, isGlobal: isGlobal, into: &out)
        if let result = statement.result {
            writeMetadata(result.columns, nil, isSkipped: false, nil, into: &out)
        } else {
            out.writeBE(MetadataFlag.noMetadata)
            out.writeBE(Int32(0))
        }
        finish(start, into: &out)
    }

    private func writeMetadata(
        _ columns: [ColumnSpec], _ pagingState: [UInt8]?, isSkipped: Bool, _ changedID: [UInt8]?,
        into out: inout ByteWriter
    ) {
        var flags: Int32 = 0
        let isGlobal = !isSkipped && ResponseEncoder.haveOneTable(columns)
        if isSkipped { flags |= MetadataFlag.noMetadata }
        if isGlobal { flags |= MetadataFlag.globalTableSpec }
        if pagingState != nil { flags |= MetadataFlag.hasMorePages }
        if changedID != nil { flags |= MetadataFlag.metadataChanged }
        out.writeBE(flags)
        out.writeBE(Int32(columns.count))
        if let pagingState { out.writeBytes(pagingState) }
        if let changedID { out.writeShortBytes(changedID) }
        if !isSkipped { writeColumns(columns, isGlobal: isGlobal, into: &out) }
    }

    private func writeColumns(_ columns: [ColumnSpec], isGlobal: Bool, into out: inout ByteWriter) {
        if isGlobal, let first = columns.first {
            out.writeString(first.keyspace)
            out.writeString(first.table)
        }
        for column in columns {
            if !isGlobal {
                out.writeString(column.keyspace)
                out.writeString(column.table)
            }
            out.writeString(column.name)
            TypeOption.write(column.type, into: &out)
        }
    }

    private static func haveOneTable(_ columns: [ColumnSpec]) -> Bool {
        guard let first = columns.first else { return false }
        return columns.allSatisfy { $0.table == first.table && $0.keyspace == first.keyspace }
    }
}
