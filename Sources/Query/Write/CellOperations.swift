import CQL
import DataModel
import Primitives

/// Encodes operations on single columns: collections, counters, deletions.
enum CellOperations {
    /// - Parameter lists: the contents of the row's lists, if an operation needs them.
    static func encode(
        _ operation: ColumnOperation, _ values: ValueList, _ times: WriteTimes, lists: ListContents?,
        space: inout Workspace
    ) throws(ServerError) {
        let column = operation.column
        switch operation.action {
        case .set(let term): try replaceCollection(column, term, values, times, &space)
        case .delete:
            if column.type.isMultiCell {
                space.mutations.complexDeletion(column: column.id, deletion: times.deletion)
            } else {
                space.mutations.tombstone(column: column.id, deletion: times.deletion)
            }
        case .add(let term), .append(let term):
            if let value = try evaluate(term, values, &space.context) { try addAll(value, column, times, &space) }
        case .prepend(let term):
            guard let value = try evaluate(term, values, &space.context) else { return }
            let elements = try CollectionAccess.values(value, perElement: 1)
            let paths = ListPaths.before(elements.count, &space.context)
            for (element, path) in zip(elements, paths) {
                try cell(column, path: path.bytes, .timeuuid, element, times, &space)
            }
        case .remove(let term): try remove(term, column, values, times, lists, &space)
        case .setElement(let key, let value): try setElement(column, key, value, values, times, lists, &space)
        case .deleteElement(let key): try deleteElement(column, key, values, times, lists, &space)
        case .increment(let term): try count(column, term, values, times, negated: false, &space)
        case .decrement(let term): try count(column, term, values, times, negated: true, &space)
        }
    }

    /// The value, or nil when null or unset: adding or removing null has no effect.
    private static func evaluate(
        _ term: Term, _ values: ValueList, _ context: inout EvaluationContext
    ) throws(ServerError) -> [UInt8]? {
        let (presence, bytes) = try term.array(values, &context)
        return presence == .value ? bytes : nil
    }

    /// Deletes the old collection at the timestamp just before the write, then adds the new elements.
    private static func replaceCollection(
        _ column: ColumnMetadata, _ term: Term, _ values: ValueList, _ times: WriteTimes, _ space: inout Workspace
    ) throws(ServerError) {
        let (presence, value) = try term.array(values, &space.context)
        switch presence {
        case .unset: return
        case .null: space.mutations.complexDeletion(column: column.id, deletion: times.deletion)
        case .value:
            space.mutations.complexDeletion(column: column.id, deletion: times.before)
            try addAll(value, column, times, &space)
        }
    }

    private static func addAll(
        _ value: [UInt8], _ column: ColumnMetadata, _ times: WriteTimes, _ space: inout Workspace
    ) throws(ServerError) {
        switch column.type {
        case .list:
            for element in try CollectionAccess.values(value, perElement: 1) {
                try cell(column, path: space.context.nextTimeUUID().bytes, .timeuuid, element, times, &space)
            }
        case .set(let type):
            for element in try CollectionAccess.values(value, perElement: 1) {
                try cell(column, path: element, type, [], times, &space)
            }
        case .map(let type, _):
            let parts = try CollectionAccess.values(value, perElement: 2)
            for index in stride(from: 0, to: parts.count - 1, by: 2) {
                try cell(column, path: parts[index], type, parts[index + 1], times, &space)
            }
        default: throw .invalid("\(column.name) of type \(column.type) is no collection")
        }
    }

    private static func path(_ key: [UInt8], _ type: CQLType, _ space: inout Workspace) throws(ServerError) {
        space.path.removeAll()
        do throws(KeyError) {
            try key.withUnsafeBytesTyped { (raw) throws(KeyError) in
                try KeyEncoding.encodePath(raw, type: type, into: &space.path)
            }
        } catch { throw ServerError(error) }
    }

    private static func cell(
        _ column: ColumnMetadata, path key: [UInt8], _ type: CQLType, _ value: [UInt8], _ times: WriteTimes,
        _ space: inout Workspace
    ) throws(ServerError) {
        try path(key, type, &space)
        value.withUnsafeBytes {
            space.mutations.cell(
                column: column.id, path: space.path.bytes, timestamp: times.timestamp, ttl: times.ttl,
                expires: times.expires, value: $0)
        }
    }

    private static func tombstone(
        _ column: ColumnMetadata, path key: [UInt8], _ type: CQLType, _ times: WriteTimes, _ space: inout Workspace
    ) throws(ServerError) {
        try path(key, type, &space)
        space.mutations.tombstone(column: column.id, path: space.path.bytes, deletion: times.deletion)
    }

    private static func remove(
        _ term: Term, _ column: ColumnMetadata, _ values: ValueList, _ times: WriteTimes, _ lists: ListContents?,
        _ space: inout Workspace
    ) throws(ServerError) {
        guard let value = try evaluate(term, values, &space.context) else { return }
        let removed = try CollectionAccess.values(value, perElement: 1)
        switch column.type {
        case .list(let element):
            for cell in lists?.cells(of: column.id) ?? []
            where removed.contains(where: { element.compare($0, cell.value) == 0 }) {
                tombstone(column, encodedPath: cell.path, times, &space)
            }
        case .set(let type), .map(let type, _):
            for key in removed { try tombstone(column, path: key, type, times, &space) }
        default: throw .invalid("\(column.name) of type \(column.type) is no collection")
        }
    }

    private static func tombstone(
        _ column: ColumnMetadata, encodedPath: [UInt8], _ times: WriteTimes, _ space: inout Workspace
    ) {
        encodedPath.withUnsafeBytes { space.mutations.tombstone(column: column.id, path: $0, deletion: times.deletion) }
    }

    private static func setElement(
        _ column: ColumnMetadata, _ key: Term, _ value: Term, _ values: ValueList, _ times: WriteTimes,
        _ lists: ListContents?,
        _ space: inout Workspace
    ) throws(ServerError) {
        let (keyPresence, keyBytes) = try key.array(values, &space.context)
        let (presence, bytes) = try value.array(values, &space.context)
        switch column.type {
        case .map(let type, _):
            guard keyPresence == .value else {
                throw .invalid("Invalid \(keyPresence == .null ? "null" : "unset") map key")
            }
            switch presence {
            case .value: try cell(column, path: keyBytes, type, bytes, times, &space)
            case .null: try tombstone(column, path: keyBytes, type, times, &space)
            case .unset: break
            }
        case .list:
            if presence == .unset { return }
            let place = try listPlace(column, keyPresence, keyBytes, lists, "set")
            if presence == .null {
                tombstone(column, encodedPath: place, times, &space)
            } else {
                place.withUnsafeBytes { path in
                    bytes.withUnsafeBytes {
                        space.mutations.cell(
                            column: column.id, path: path, timestamp: times.timestamp, ttl: times.ttl,
                            expires: times.expires, value: $0)
                    }
                }
            }
        default: throw .invalid("\(column.name) of type \(column.type) has no elements to set")
        }
    }

    private static func deleteElement(
        _ column: ColumnMetadata, _ key: Term, _ values: ValueList, _ times: WriteTimes, _ lists: ListContents?,
        _ space: inout Workspace
    ) throws(ServerError) {
        let (presence, bytes) = try key.array(values, &space.context)
        switch column.type {
        case .map(let type, _), .set(let type):
            guard presence == .value else {
                throw .invalid(
                    "Invalid \(presence == .null ? "null" : "unset") \(column.type.isMap ? "map" : "set") key")
            }
            try tombstone(column, path: bytes, type, times, &space)
        case .list:
            tombstone(column, encodedPath: try listPlace(column, presence, bytes, lists, "delete"), times, &space)
        default: throw .invalid("\(column.name) of type \(column.type) has no elements to delete")
        }
    }

    /// Returns the path of the list cell at an index.
    private static func listPlace(
        _ column: ColumnMetadata, _ presence: ValuePresence, _ bytes: [UInt8], _ lists: ListContents?, _ verb: String
    ) throws(ServerError) -> [UInt8] {
        guard presence == .value, bytes.count == 4 else {
            throw .invalid("Invalid \(presence == .unset ? "unset" : "null") value for list index")
        }
        let index = Int(Int32(bitPattern: bytes.reduce(0) { $0 << 8 | UInt32($1) }))
        let cells = lists?.cells(of: column.id) ?? []
        guard !cells.isEmpty else {
            throw .invalid("Attempted to \(verb) an element \(verb == "set" ? "on" : "from") a list which is null")
        }
        guard cells.indices.contains(index) else {
            throw .invalid("List index \(index) out of bound, list has size \(cells.count)")
        }
        return cells[index].path
    }

    private static func count(
        _ column: ColumnMetadata, _ term: Term, _ values: ValueList, _ times: WriteTimes, negated: Bool,
        _ space: inout Workspace
    ) throws(ServerError) {
        let (presence, bytes) = try term.array(values, &space.context)
        switch presence {
        case .unset: return
        case .null: throw .invalid("Invalid null value for counter increment")
        case .value: break
        }
        guard bytes.count == 8 else { throw .invalid("Invalid counter increment: a bigint is expected") }
        var delta = Int64(bitPattern: bytes.reduce(0) { $0 << 8 | UInt64($1) })
        if negated {
            guard delta != .min else {
                throw .invalid(
                    "The negation of \(delta) overflows supported counter precision (signed 8 bytes integer)")
            }
            delta = -delta
        }
        NativeValue.bigint(delta).withUnsafeBytes {
            space.mutations.cell(column: column.id, timestamp: times.timestamp, value: $0, isCounter: true)
        }
    }
}

extension CQLType {
    /// Whether the type is a map, frozen or not.
    var isMap: Bool { if case .map = unfrozen { true } else { false } }
}
