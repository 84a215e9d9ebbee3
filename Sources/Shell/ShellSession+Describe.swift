import Client
import DataModel
import NativeProtocol
import Primitives

extension ShellSession {
    /// Executes DESCRIBE. The server answers with rows, which are shown as statements or as lists of names.
    func describe(_ statement: String) throws(ShellError) {
        var options = options(pageRows: 5000)
        options.consistency = .localOne
        let isCluster = statement.lowercased().split(separator: " ").dropFirst().first == "cluster"
        var lists: [(keyspace: String, names: [String])] = []
        while true {
            let answer = try ask { () throws(ClientError) in try backend.run(statement, options, tracing: false) }
            guard case .rows(let rows) = answer.result else { return }
            let columns = rows.metadata.columns.map(\.name)
            if isCluster {
                showCluster(columns, rows.rows())
            } else if let text = columns.firstIndex(of: "create_statement") {
                for row in rows.rows() { show("\n" + (row.text(text) ?? "") + "\n") }
            } else {
                collect(columns, rows.rows(), &lists)
            }
            guard let next = rows.pagingState else { break }
            options.pagingState = next
        }
        showLists(lists)
    }

    private func showCluster(_ columns: [String], _ rows: [ResultRow]) {
        for row in rows {
            for (index, label) in [("cluster", "Cluster"), ("partitioner", "Partitioner"), ("snitch", "Snitch")] {
                if let column = columns.firstIndex(of: index), let text = row.text(column) {
                    show("\(label): \(text)\n")
                }
            }
        }
    }

    private func collect(_ columns: [String], _ rows: [ResultRow], _ lists: inout [(keyspace: String, names: [String])])
    {
        let keyspaceColumn = columns.firstIndex(of: "keyspace_name")
        let nameColumn = columns.firstIndex(of: "name") ?? columns.count - 1
        let typeColumn = columns.firstIndex(of: "type")
        for row in rows {
            let isKeyspace = typeColumn.flatMap { row.text($0) } == "keyspace"
            let keyspace = isKeyspace ? "" : keyspaceColumn.flatMap { row.text($0) } ?? ""
            let name = Identifier.quoted(row.text(nameColumn) ?? "")
            if lists.last?.keyspace == keyspace {
                lists[lists.count - 1].names.append(name)
            } else {
                lists.append((keyspace, [name]))
            }
        }
    }

    private func showLists(_ lists: [(keyspace: String, names: [String])]) {
        for list in lists {
            if !list.keyspace.isEmpty {
                let title = "Keyspace \(Identifier.quoted(list.keyspace))"
                show("\n\(title)\n" + String(repeating: "-", count: title.count) + "\n")
            } else {
                show("\n")
            }
            show(ShellSession.inColumns(list.names, width: isInteractive ? Terminal.width : 80))
        }
        if !lists.isEmpty { show("\n") }
    }

    /// Formats names in columns, sorted downwards.
    static func inColumns(_ names: [String], width: Int) -> String {
        let widest = (names.map(\.count).max() ?? 0) + 2
        let across = max(1, width / max(1, widest))
        let down = (names.count + across - 1) / across
        var out = ""
        for line in 0..<down {
            var text = ""
            for column in stride(from: line, to: names.count, by: down) {
                text += names[column] + String(repeating: " ", count: widest - names[column].count)
            }
            while text.hasSuffix(" ") { text.removeLast() }
            out += text + "\n"
        }
        return out
    }

    /// Shows the events of a trace after waiting until the server has completed it.
    func showTrace(_ id: UUID) throws(ShellError) {
        var session: ResultRow?
        for _ in 0..<20 {
            let query =
                "SELECT request, coordinator, duration, started_at FROM system_traces.sessions WHERE session_id = \(id)"
            let rows = try ask { () throws(ClientError) in try backend.rows(query) }
            if let first = rows.first, first.integer(2) != nil {
                session = first
                break
            }
            WorkerThreads.sleep(.milliseconds(100))
        }
        guard let session else { throw .command("Session \(id) wasn't found, or is not complete yet.") }
        show("\nTracing session: \(id)\n")
        let query =
            "SELECT activity, event_id, source, source_elapsed, thread FROM system_traces.events WHERE session_id = \(id)"
        let events = try ask { () throws(ClientError) in try backend.rows(query) }
        let columns = ["activity", "timestamp", "source", "source_elapsed"].map {
            ColumnSpec(
                keyspace: "system_traces", table: "events", name: $0, type: $0 == "source_elapsed" ? .int : .text)
        }
        var cells = ByteWriter()
        func append(_ bytes: [UInt8]?) {
            cells.writeBE(Int32(bytes?.count ?? -1))
            if let bytes { cells.write(bytes) }
        }
        append(Array("Execute CQL3 query".utf8))
        append(Array(CQLType.timestamp.text(session.cells[3], style: .shell(floatDigits: 5)).utf8))
        append(Array(CQLType.inet.text(session.cells[1], style: .shell(floatDigits: 5)).utf8))
        append([0, 0, 0, 0])
        for event in events {
            append(event.cells[0])
            let milliseconds = event.uuid(1).map { Int64(bitPattern: $0.ticks &- UUID.unixEpochTicks) / 10_000 }
            append(
                milliseconds.map {
                    Array(CQLType.timestamp.text(CQLType.bigEndian($0), style: .shell(floatDigits: 5)).utf8)
                })
            append(Array(CQLType.inet.text(event.cells[2], style: .shell(floatDigits: 5)).utf8))
            append(event.cells[3])
        }
        var printer = TablePrinter()
        printer.isColoured = isColoured
        var state = TablePrinter.State()
        show(
            printer.page(
                ResultRows(
                    metadata: ResultMetadata(columns: columns), rowCount: events.count + 1, cells: cells.toArray()),
                &state)
        )
        show("\nRequest complete after \(session.integer(2) ?? 0) us\n\n")
    }
}
