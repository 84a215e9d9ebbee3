import DataModel
import NativeProtocol
import Primitives

/// Parses records and appends their values as the protocol encodes them.
///
/// **Thread safety**: one owner.
struct RowEncoder: ~Copyable {
    enum Outcome {
        /// All values were appended.
        case row
        /// A blank line.
        case blank
        /// Nothing was appended, for this reason.
        case refused(String)
    }

    private let plan: LoadPlan
    private let framing: RecordSource.Framing
    private let names: [[UInt8]]
    /// The data of `plan` needed per field, in arrays without references for speed.
    private let converters: [FieldConverter]
    private let areKeys: [Bool]
    /// The column of each field; -1: the field is skipped.
    private let columnOfField: [Int]
    /// Bit n is set when a null text has n bytes; bit 63 stands for 63 and more.
    private let nullLengths: UInt64
    private var scratch = ByteWriter(capacity: 256)
    /// The column of each bind marker if their order differs from the columns' order, and a buffer for values in column
    /// order.
    private let markers: [Int]?
    private var inColumnOrder = ByteWriter(capacity: 256)

    init(_ plan: LoadPlan, _ framing: RecordSource.Framing) {
        self.plan = plan
        self.framing = framing
        names = plan.columns.map { Array($0.name.utf8) }
        converters = plan.columns.map { FieldConverter($0.type) }
        areKeys = plan.columns.map(\.isKey)
        columnOfField = plan.fields.map { $0 ?? -1 }
        markers = plan.markers
        nullLengths = plan.nulls.reduce(0) { $0 | 1 << UInt64(min(63, $1.count)) }
    }

    /// Parses the record at `offset`, moves `offset` and `line` behind it, and appends its values to `out`.
    mutating func encode(
        _ bytes: UnsafeRawBufferPointer, offset: inout Int, line: inout Int, into out: inout ByteWriter
    ) -> Outcome {
        guard let markers else { return encodeColumns(bytes, &offset, &line, &out) }
        var values = ByteWriter(capacity: 0)
        swap(&values, &inColumnOrder)
        defer { swap(&values, &inColumnOrder) }
        values.removeAll()
        let outcome = encodeColumns(bytes, &offset, &line, &values)
        guard case .row = outcome else { return outcome }
        var places: [Range<Int>] = []
        var start = 0
        while values.count - start >= 4 {
            let length = Int32(bigEndian: values.bytes.loadUnaligned(fromByteOffset: start, as: Int32.self))
            let end = start + 4 + max(0, Int(length))
            places.append(start..<end)
            start = end
        }
        for column in markers { out.write(UnsafeRawBufferPointer(rebasing: values.bytes[places[column]])) }
        return outcome
    }

    private mutating func encodeColumns(
        _ bytes: UnsafeRawBufferPointer, _ offset: inout Int, _ line: inout Int, _ out: inout ByteWriter
    ) -> Outcome {
        switch framing {
        case .csv(let dialect): encodeCSV(dialect, bytes, &offset, &line, &out)
        case .lines: encodeJSON(bytes, &offset, &line, &out)
        }
    }

    private mutating func encodeCSV(
        _ dialect: CSVDialect, _ bytes: UnsafeRawBufferPointer, _ offset: inout Int, _ line: inout Int,
        _ out: inout ByteWriter
    ) -> Outcome {
        let start = out.count
        var index = 0
        var isBlank = false
        var refusal: String?
        while true {
            let field = dialect.field(bytes, from: offset, scratch: &scratch)
            offset = field.next
            line += field.lineEnds
            if index == 0 && field.isLast && field.bytes.isEmpty && !field.isQuoted {
                isBlank = columnOfField.count > 1
            }
            if index < columnOfField.count, refusal == nil {
                let column = columnOfField[index]
                if column >= 0 { refusal = append(field.bytes, field.isQuoted, column, &out) }
            }
            index += 1
            if field.isLast { break }
        }
        if isBlank {
            out.truncate(to: start)
            return .blank
        }
        if index != columnOfField.count { refusal = "\(index) fields where \(columnOfField.count) are expected" }
        guard let refusal else { return .row }
        out.truncate(to: start)
        return .refused(refusal)
    }

    /// Appends one field; returns why it is invalid, or nil.
    @inline(__always) private func append(
        _ field: UnsafeRawBufferPointer, _ isQuoted: Bool, _ column: Int, _ out: inout ByteWriter
    ) -> String? {
        let converter = converters[column]
        if isNull(field, isQuoted, converter) {
            if areKeys[column] { return "key column \(plan.columns[column].name) is empty" }
            // Unset, not null: inserting null would write a tombstone.
            out.writeBE(Int32(-2))
            return nil
        }
        if converter.append(field, into: &out) { return nil }
        return appendAsText(field, column, &out)
    }

    /// Appends a field of a less frequent type, or returns why it is invalid.
    @inline(never) private func appendAsText(_ field: UnsafeRawBufferPointer, _ column: Int, _ out: inout ByteWriter)
        -> String?
    {
        let described = plan.columns[column]
        if case .other = converters[column], FieldConverter.append(described.type, field, into: &out) { return nil }
        return
            "column \(described.name): \(FieldConverter.complaint(described.type, String(decoding: field, as: UTF8.self)))"
    }

    @inline(__always) private func isNull(
        _ field: UnsafeRawBufferPointer, _ isQuoted: Bool, _ converter: FieldConverter
    ) -> Bool {
        if field.isEmpty {
            if case .text = converter { return !isQuoted }
            return true
        }
        if isQuoted || nullLengths & 1 << UInt64(min(63, field.count)) == 0 { return false }
        for null in plan.nulls where null.count == field.count && null.elementsEqual(field) { return true }
        return false
    }

    private mutating func encodeJSON(
        _ bytes: UnsafeRawBufferPointer, _ offset: inout Int, _ line: inout Int, _ out: inout ByteWriter
    ) -> Outcome {
        var end = offset
        while end < bytes.count, bytes[end] != 0x0A { end += 1 }
        let record = UnsafeRawBufferPointer(rebasing: bytes[offset..<end])
        offset = min(end + 1, bytes.count)
        line += 1
        if record.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }) { return .blank }
        var members = [JSONLine.Member?](repeating: nil, count: plan.columns.count)
        var reader = JSONLine(record)
        var expected = 0
        do throws(JSONLine.Damage) {
            while let member = try reader.next() {
                guard let column = column(member, expected) else {
                    return .refused("the table has no column '\(String(decoding: member.key, as: UTF8.self))'")
                }
                members[column] = member
                expected = column + 1
            }
        } catch {
            return .refused(error.reason)
        }
        let start = out.count
        for (column, member) in members.enumerated() {
            if let refusal = append(member, column, &out) {
                out.truncate(to: start)
                return .refused(refusal)
            }
        }
        return .row
    }

    /// Returns the column that a member's key names. Tries the expected one first, since objects usually have the same
    /// key order.
    private func column(_ member: JSONLine.Member, _ expected: Int) -> Int? {
        if member.keyHasEscapes {
            guard let key = JSONLine.unescaped(member.key) else { return nil }
            return names.firstIndex(of: Array(key.utf8))
        }
        if expected < names.count, names[expected].elementsEqual(member.key) { return expected }
        if let exact = names.firstIndex(where: { $0.elementsEqual(member.key) }) { return exact }
        let plain = Array(LoadPlan.columnName(String(decoding: member.key, as: UTF8.self)).utf8)
        return names.firstIndex(of: plain)
    }

    private func append(_ member: JSONLine.Member?, _ column: Int, _ out: inout ByteWriter) -> String? {
        guard let member, member.kind != .null else {
            if areKeys[column] { return "key column \(plan.columns[column].name) is missing" }
            out.writeBE(Int32(-2))
            return nil
        }
        switch member.kind {
        case .string, .scalar:
            // An empty string is valid for text, but for no other type.
            return append(member.value, member.kind == .string, column, &out)
        case .escapedString:
            guard let text = JSONLine.unescaped(member.value) else {
                return "column \(plan.columns[column].name): a string has an invalid escape"
            }
            return Array(text.utf8).withUnsafeBytes { append($0, true, column, &out) }
        case .nested:
            if case .text = converters[column] { return append(member.value, true, column, &out) }
            let described = plan.columns[column]
            do throws(ValueError) {
                guard let bytes = try described.type.bytes(fromJSON: try JSONValue(parsing: Array(member.value))) else {
                    return "column \(described.name) is null"
                }
                out.writeBE(Int32(bytes.count))
                out.write(bytes)
                return nil
            } catch {
                return "column \(described.name): \(error.message)"
            }
        case .null: return nil
        }
    }
}
