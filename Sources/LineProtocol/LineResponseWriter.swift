import DataModel
import Primitives

/// Appends responses of the line protocol to a connection's outgoing bytes.
///
///     answer := columns? row* warning* trace* more? (done | failed)
///
/// Each line starts with its tag and a space. Line breaks in values are escaped or replaced, so that a line never
/// contains one.
///
/// **Thread safety**: one owner.
public struct LineResponseWriter: Sendable {
    public var format = LineFormat.array
    /// Whether the last line of a response shows the elapsed time.
    public var showsTimes = true

    public init() {}

    /// Appends a whole response.
    /// - Parameter elapsed: the time for the last line, if times are shown.
    public func answer(
        _ result: StatementResult, warnings: [String] = [], elapsed: Duration, into out: inout ByteWriter
    ) {
        switch result {
        case .void:
            for text in warnings { warning(text, into: &out) }
            done("applied", into: &out)
        case .setKeyspace(let name):
            for text in warnings { warning(text, into: &out) }
            done("using \(Identifier.quoted(name))", into: &out)
        case .schemaChange(let change):
            for text in warnings { warning(text, into: &out) }
            let target = change.target.rawValue.lowercased()
            let name = change.target == .keyspace ? "" : "." + Identifier.quoted(change.name)
            done(
                "\(change.kind.rawValue.lowercased()) \(target) \(Identifier.quoted(change.keyspace))\(name)",
                into: &out)
        case .rows(let rows):
            let isApplied = LineResponseWriter.isApplied(rows)
            if isApplied == nil || rows.metadata.columns.count > 1 {
                columns(rows.metadata, into: &out)
                self.rows(rows, into: &out)
            }
            for text in warnings { warning(text, into: &out) }
            if rows.pagingState != nil { out.write("> \\next continues\n") }
            if let isApplied {
                done(isApplied ? "applied" : "not applied", into: &out)
            } else {
                let time = showsTimes ? " in \(LineResponseWriter.milliseconds(elapsed)) ms" : ""
                done(rows.rowCount == 1 ? "1 row\(time)" : "\(rows.rowCount) rows\(time)", into: &out)
            }
        }
    }

    /// Appends the `C` line with the columns.
    public func columns(_ metadata: ResultMetadata, into out: inout ByteWriter) {
        out.write("C [")
        for (index, column) in metadata.columns.enumerated() {
            if index > 0 { out.write(UInt8(ascii: ",")) }
            out.write("{\"name\":")
            LineText.writeJSON(column.name, into: &out)
            out.write(",\"type\":")
            LineText.writeJSON(column.type.description, into: &out)
            out.write(UInt8(ascii: "}"))
        }
        out.write("]\n")
    }

    /// Appends the rows, one `R` line each.
    public func rows(_ rows: ResultRows, into out: inout ByteWriter) {
        let columns = rows.metadata.columns
        rows.cells.withUnsafeBytes { cells in
            var reader = ByteReader(cells)
            for _ in 0..<rows.rowCount {
                out.write("R ")
                if format != .tsv { out.write(format == .array ? UInt8(ascii: "[") : UInt8(ascii: "{")) }
                for index in columns.indices {
                    if index > 0 { out.write(format == .tsv ? UInt8(ascii: "\t") : UInt8(ascii: ",")) }
                    if format == .object {
                        LineText.writeJSON(columns[index].name, into: &out)
                        out.write(UInt8(ascii: ":"))
                    }
                    write(LineResponseWriter.cell(&reader), columns[index].type, into: &out)
                }
                if format != .tsv { out.write(format == .array ? UInt8(ascii: "]") : UInt8(ascii: "}")) }
                out.write(UInt8(ascii: "\n"))
            }
        }
    }

    /// Appends a `W` line with a warning.
    public func warning(_ text: String, into out: inout ByteWriter) {
        out.write("W ")
        LineText.writeSingleLine(text, into: &out)
        out.write(UInt8(ascii: "\n"))
    }

    /// Appends a `T` line with a trace event.
    public func trace(_ activity: String, elapsed: Duration, into out: inout ByteWriter) {
        out.write("T \(LineResponseWriter.milliseconds(elapsed)) ms ")
        LineText.writeSingleLine(activity, into: &out)
        out.write(UInt8(ascii: "\n"))
    }

    /// Appends the final `.` line of a successful response.
    public func done(_ text: String, into out: inout ByteWriter) {
        out.write(". ")
        LineText.writeSingleLine(text, into: &out)
        out.write(UInt8(ascii: "\n"))
    }

    /// Appends the final `!` line of a failed response: the code in hexadecimal, its name and the message.
    public func error(_ error: ServerError, into out: inout ByteWriter) {
        let digits = String(error.code.rawValue, radix: 16, uppercase: true)
        out.write("! " + String(repeating: "0", count: max(0, 4 - digits.count)) + digits + " \(error.code.name): ")
        LineText.writeSingleLine(error.message, into: &out)
        out.write(UInt8(ascii: "\n"))
    }

    /// Appends the error for a line longer than the limit.
    public func tooLong(limit: Int, into out: inout ByteWriter) {
        error(
            .invalid("the line is longer than the limit of \(limit) bytes (line_max_length); it was not executed"),
            into: &out)
    }

    /// Appends the lines of `\help` as warnings, so that clients need to know no other tag.
    public func help(into out: inout ByteWriter) {
        for line in LineCommand.helpLines { warning(line, into: &out) }
        done("\(LineCommand.helpLines.count) commands", into: &out)
    }

    private func write(_ cell: UnsafeRawBufferPointer?, _ type: CQLType, into out: inout ByteWriter) {
        guard format == .tsv else {
            guard let cell else { return out.write("null") }
            return type.appendJSON(cell, to: &out)
        }
        guard let cell else { return out.write("\\N") }
        switch type {
        case .text, .ascii: LineText.writeTabSafe(cell, into: &out)
        default:
            let start = out.count
            type.appendJSON(cell, to: &out)
            // Dates, times, UUIDs and the like are JSON strings without escapes; remove their quotes.
            let end = out.count
            guard end - start >= 2, out.bytes[start] == UInt8(ascii: "\""), out.bytes[end - 1] == UInt8(ascii: "\"")
            else { return }
            let inner = [UInt8](out.bytes[start + 1..<end - 1])
            out.truncate(to: start)
            out.write(inner)
        }
    }

    /// Reads the next cell; nil for null or an invalid length.
    private static func cell(_ reader: inout ByteReader) -> UnsafeRawBufferPointer? {
        do throws(ByteError) {
            let length = Int(try reader.readBE(Int32.self))
            return length < 0 ? nil : try reader.readSlice(length)
        } catch {
            return nil
        }
    }

    /// The value of `[applied]` of a conditional statement; nil for other results.
    private static func isApplied(_ rows: ResultRows) -> Bool? {
        guard let first = rows.metadata.columns.first, first.name == "[applied]", first.type == .boolean,
            rows.rowCount > 0,
            rows.cells.count >= 5
        else { return nil }
        return rows.cells[4] != 0
    }

    /// Formats milliseconds with one decimal, such as `0.4`.
    static func milliseconds(_ elapsed: Duration) -> String {
        let (seconds, attoseconds) = elapsed.components
        let tenths = max(0, seconds * 10_000 + (attoseconds + 50_000_000_000_000) / 100_000_000_000_000)
        return "\(tenths / 10).\(tenths % 10)"
    }
}
