import Client
import DataModel
import Glibc
import NativeProtocol
import Primitives

extension ShellSession {
    /// Executes COPY: exports a table to a file, or imports a file into a table.
    func copy(_ statement: String) throws(ShellError) {
        let copy = try CopyStatement(parsing: statement)
        guard let keyspace = copy.keyspace ?? keyspace else {
            throw .command("No keyspace is in use; write COPY keyspace.\(copy.table) or USE one first")
        }
        let all = try columns(keyspace, copy.table)
        var chosen: [DescribedColumn] = []
        for name in copy.columns {
            guard let column = all.first(where: { $0.name == name }) else {
                throw .command("Table \(keyspace).\(copy.table) has no column \(name)")
            }
            chosen.append(column)
        }
        if chosen.isEmpty { chosen = all }
        let begun = WorkerThreads.nanoseconds()
        let rows: Int
        let failed: Int
        switch copy.direction {
        case .to: (rows, failed) = (try copyTo(copy, keyspace, chosen), 0)
        case .from: (rows, failed) = try copyFrom(copy, keyspace, chosen)
        }
        let seconds = Double((WorkerThreads.nanoseconds() - begun) / 1_000_000) / 1000
        let isStandardOutput = copy.direction == .to && copy.target == .standard
        let summary =
            copy.direction == .to
            ? "\(rows) rows exported to 1 files in \(seconds) seconds.\n"
            : "\(rows) rows imported from 1 files in \(seconds) seconds (\(failed) failed).\n"
        Terminal.write(summary, to: isStandardOutput ? 2 : 1)
        if failed > 0 { report(.command("Failed to process \(failed) rows")) }
    }

    /// Returns the columns of a table in the order of `SELECT *`.
    private func columns(_ keyspace: String, _ table: String) throws(ShellError) -> [DescribedColumn] {
        let query =
            "SELECT column_name, type, kind, position FROM system_schema.columns WHERE keyspace_name = "
            + "\(Identifier.stringLiteral(keyspace)) AND table_name = \(Identifier.stringLiteral(table))"
        let rows = try ask { () throws(ClientError) in try backend.rows(query) }
        guard !rows.isEmpty else { throw .command("Table \(keyspace).\(table) does not exist") }
        return try ask { () throws(ClientError) in try DescribedTable.columns(rows, keyspace: keyspace, table: table) }
    }

    private func copyTo(_ copy: CopyStatement, _ keyspace: String, _ columns: [DescribedColumn]) throws(ShellError)
        -> Int
    {
        let descriptor: Int32
        switch copy.target {
        case .standard: descriptor = 1
        case .file(let path): descriptor = try FileText.openForWriting(path)
        }
        defer { if descriptor != 1 { Glibc.close(descriptor) } }
        let csv = CSVText(delimiter: copy.delimiter, quote: copy.quote, escape: copy.escape)
        var out: [UInt8] = []
        if copy.header {
            for (index, column) in columns.enumerated() {
                if index > 0 { out.append(copy.delimiter) }
                csv.write(column.name, into: &out)
            }
            out += [0x0D, 0x0A]
        }
        let names = columns.map { Identifier.quoted($0.name) }.joined(separator: ", ")
        let query = "SELECT \(names) FROM \(Identifier.quoted(keyspace)).\(Identifier.quoted(copy.table))"
        var options = options(pageRows: copy.pageSize)
        var written = 0
        while true {
            let answer = try ask { () throws(ClientError) in try backend.run(query, options, tracing: false) }
            guard case .rows(let page) = answer.result else { return written }
            for row in page.rows() {
                if let limit = copy.maxRows, written >= limit { break }
                for (index, column) in columns.enumerated() {
                    if index > 0 { out.append(copy.delimiter) }
                    if let bytes = row.cells[index] {
                        csv.write(column.type.text(bytes, style: .csv), into: &out)
                    } else {
                        out += Array(copy.null.utf8)
                    }
                }
                out += [0x0D, 0x0A]
                written += 1
            }
            guard FileText.write(out, to: descriptor) else {
                throw .command("Could not write the copy: \(FileText.lastError)")
            }
            out.removeAll(keepingCapacity: true)
            guard let next = page.pagingState, copy.maxRows.map({ written < $0 }) ?? true else { return written }
            options.pagingState = next
        }
    }

    private func copyFrom(_ copy: CopyStatement, _ keyspace: String, _ chosen: [DescribedColumn]) throws(ShellError)
        -> (
            rows: Int, failed: Int
        )
    {
        let descriptor: Int32
        switch copy.target {
        case .standard: descriptor = 0
        case .file(let path): descriptor = try FileText.openForReading(path)
        }
        defer { if descriptor != 0 { Glibc.close(descriptor) } }
        var importer = CopyImport(copy, keyspace: keyspace, columns: chosen, options: options(pageRows: nil))
        let csv = CSVText(delimiter: copy.delimiter, quote: copy.quote, escape: copy.escape)
        var buffer: [UInt8] = []
        var isLast = false
        while !isLast {
            let chunk = FileText.read(descriptor)
            isLast = chunk.isEmpty
            buffer += chunk
            var offset = 0
            while let (fields, next) = csv.record(buffer, from: offset, isLast: isLast) {
                offset = next
                try importer.take(fields, self)
            }
            buffer.removeFirst(offset)
        }
        try importer.send(self)
        return (importer.imported, importer.failed)
    }
}

/// Imports records into a table, in groups of `rowsAtOnce`.
private struct CopyImport {
    static let rowsAtOnce = 500

    let copy: CopyStatement
    let keyspace: String
    var columns: [DescribedColumn]
    let options: QueryOptions
    private var line = 0
    private var rows: [ValueList] = []
    private var lines: [Int] = []
    var imported = 0
    var failed = 0
    private var skipped = 0

    init(_ copy: CopyStatement, keyspace: String, columns: [DescribedColumn], options: QueryOptions) {
        self.copy = copy
        self.keyspace = keyspace
        self.columns = columns
        self.options = options
    }

    /// Whether the values are added to counters.
    private var isCounting: Bool { columns.contains { $0.type == .counter } }

    /// The column of each bind marker of the statement.
    private var markers: [Int] {
        guard isCounting else { return Array(columns.indices) }
        return columns.indices.filter { !isKey(columns[$0]) } + columns.indices.filter { isKey(columns[$0]) }
    }

    private func isKey(_ column: DescribedColumn) -> Bool { column.kind == .partitionKey || column.kind == .clustering }

    private var statement: String {
        guard isCounting else { return insert }
        func quoted(_ column: DescribedColumn) -> String { Identifier.quoted(column.name) }
        let additions = columns.filter { !isKey($0) }.map { "\(quoted($0)) = \(quoted($0)) + ?" }.joined(
            separator: ", ")
        let key = columns.filter(isKey).map { "\(quoted($0)) = ?" }.joined(separator: " AND ")
        return "UPDATE \(Identifier.quoted(keyspace)).\(Identifier.quoted(copy.table)) SET \(additions) WHERE \(key)"
    }

    private var insert: String {
        let names = columns.map { Identifier.quoted($0.name) }.joined(separator: ", ")
        let markers = columns.map { _ in "?" }.joined(separator: ", ")
        return
            "INSERT INTO \(Identifier.quoted(keyspace)).\(Identifier.quoted(copy.table)) (\(names)) VALUES (\(markers))"
    }

    mutating func take(_ fields: [CSVText.Field], _ session: ShellSession) throws(ShellError) {
        line += 1
        if fields.count == 1 && fields[0].text.isEmpty { return }
        if copy.header && line == 1 {
            // The header determines the order of the columns, unless the command names them.
            if copy.columns.isEmpty {
                var ordered: [DescribedColumn] = []
                for field in fields {
                    guard let column = columns.first(where: { $0.name == field.text }) else {
                        throw .command("The header names '\(field.text)', which is not a column of the table")
                    }
                    ordered.append(column)
                }
                columns = ordered
            }
            return
        }
        if skipped < copy.skipRows {
            skipped += 1
            return
        }
        if let limit = copy.maxRows, imported + failed + rows.count >= limit { return }
        guard fields.count == columns.count else {
            return refuse("\(fields.count) fields where \(columns.count) are expected", line, session)
        }
        var values = ValueList()
        let isCounting = isCounting
        for index in markers {
            let (field, column) = (fields[index], columns[index])
            if field.text == copy.null && !field.isQuoted {
                guard column.kind == .regular || column.kind == .static else {
                    return refuse("key column \(column.name) is null", line, session)
                }
                // Unset adds nothing to a counter; the server would refuse a null.
                if isCounting { values.appendUnset() } else { values.appendNull() }
                continue
            }
            do throws(ValueError) {
                values.append(try column.type.bytes(fromPlainText: field.text))
            } catch {
                return refuse("column \(column.name): \(error.message)", line, session)
            }
        }
        rows.append(values)
        lines.append(line)
        if rows.count >= CopyImport.rowsAtOnce { try send(session) }
    }

    /// Returns whether a counter update may have been applied in spite of the error.
    private func isUnclear(_ error: ServerError) -> Bool {
        switch error.code {
        case .serverError, .writeTimeout, .writeFailure, .readTimeout, .readFailure: isCounting
        default: false
        }
    }

    private mutating func refuse(_ reason: String, _ line: Int, _ session: ShellSession) {
        failed += 1
        if failed <= 20 { session.report(.command("record \(line): \(reason)")) }
    }

    mutating func send(_ session: ShellSession) throws(ShellError) {
        guard !rows.isEmpty else { return }
        let outcomes: [ServerError?]
        do throws(ShellError) {
            outcomes = try session.ask { () throws(ClientError) in try session.backend.runMany(statement, rows, options)
            }
        } catch {
            // Counter updates must not be repeated, since they could be applied twice.
            if isCounting, let first = lines.first, let last = lines.last {
                session.report(
                    .command(
                        "it is unknown which of the records \(first) to \(last) were added to their counters; \(imported) records before them were added"
                    ))
            }
            throw error
        }
        for (line, outcome) in zip(lines, outcomes) {
            guard let outcome else {
                imported += 1
                continue
            }
            refuse(
                (isUnclear(outcome) ? "it may or may not have been added to its counters: " : "") + outcome.message,
                line, session)
        }
        rows.removeAll()
        lines.removeAll()
    }
}
