import Client
import DataModel
import Glibc
import NativeProtocol
import Primitives
import Synchronization

/// Loads files into a table and reports the result.
///
/// 1. The header or `columns` names the fields. With `creates`, the types are inferred from the data and the table is
///    created.
/// 2. The names are checked against the table before anything is sent.
/// 3. Workers take chunks of records and send them as prepared statements.
/// 4. Progress is saved in a state file next to the input, so that an interrupted load can continue. A finished load
///    removes it.
public func runLoad(_ options: LoadOptions) throws(LoadError) -> LoadReport {
    if let complaint = options.complaint { throw .usage(complaint) }
    var report = LoadReport()
    let begun = WorkerThreads.nanoseconds()
    let offline = try options.sstableDirectory.map { (path) throws(LoadError) in
        try OfflineTarget(options, directory: path)
    }
    for file in options.files { try LoadRun(options, file, offline).run(&report) }
    if let offline {
        report.sstables = offline.written.files
        try offline.finish()
    }
    report.seconds = Double(WorkerThreads.nanoseconds() - begun) / 1e9
    return report
}

/// The load of one file.
struct LoadRun: Sendable {
    /// The number of records of standard input to infer types from by default; they are kept in memory.
    static let defaultStreamedInferRows = 10_000

    let options: LoadOptions
    let path: String
    let framing: RecordSource.Framing
    /// The target of a load without a server; nil when there is a server.
    let offline: OfflineTarget?

    init(_ options: LoadOptions, _ path: String, _ offline: OfflineTarget? = nil) {
        self.options = options
        self.path = path
        self.offline = offline
        var name = path
        for suffix in [".gz", ".xz", ".zst", ".bz2"] where name.hasSuffix(suffix) {
            name = String(name.dropLast(suffix.count))
        }
        let isJSON = name.hasSuffix(".jsonl") || name.hasSuffix(".ndjson") || name.hasSuffix(".json")
        let format = options.format ?? (isJSON ? .jsonl : .csv)
        let delimiter = options.delimiter ?? (name.hasSuffix(".tsv") ? 0x09 : UInt8(ascii: ","))
        framing = format == .jsonl ? .lines : .csv(CSVDialect(delimiter: delimiter))
    }

    private var isCSV: Bool { if case .csv = framing { true } else { false } }

    func run(_ report: inout LoadReport) throws(LoadError) {
        let source = try RecordSource(path, framing: framing)
        let names = try fieldNames(source)
        let (plan, create) = try plan(names, source)
        if let create { report.createStatement = create }
        try load(plan, source, &report)
    }

    /// Returns the field names of a CSV file and removes its header; nil for JSON lines, which name their fields
    /// themselves.
    private func fieldNames(_ source: RecordSource) throws(LoadError) -> [String]? {
        guard case .csv(let dialect) = framing else { return nil }
        var header: [String] = []
        if options.hasHeader {
            guard let first = try source.takeFirst() else { throw .input("\(path) is empty: not even a header") }
            header = first.bytes.withUnsafeBytes { bytes in
                var scratch = ByteWriter(capacity: 64)
                var names: [String] = []
                var offset = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
                while true {
                    let field = dialect.field(bytes, from: offset, scratch: &scratch)
                    names.append(String(decoding: field.bytes, as: UTF8.self))
                    if field.isLast { return names }
                    offset = field.next
                }
            }
        }
        if let columns = options.columns {
            guard !options.hasHeader || header.count == columns.count else {
                throw .usage("--columns names \(columns.count) fields, the header of \(path) has \(header.count)")
            }
            return columns
        }
        guard options.hasHeader else { throw .usage("without a header --columns must name the fields") }
        return header
    }

    private func plan(_ names: [String]?, _ source: RecordSource) throws(LoadError) -> (LoadPlan, create: String?) {
        if let offline { return try offlinePlan(offline, names, source) }
        if options.creates {
            let inferred = try inferred(names, source)
            // A dry run checks against the existing table, or against the inferred one if there is none.
            if options.isDryRun, let plan = try? existingPlan(names) { return (plan, nil) }
            if options.isDryRun {
                return (try LoadPlan(inferred.table, names: names, nulls: options.nulls), inferred.create)
            }
            try make(inferred.create)
            return (try existingPlan(names), inferred.create)
        }
        return (try existingPlan(names), nil)
    }

    private func offlinePlan(
        _ offline: OfflineTarget, _ names: [String]?, _ source: RecordSource
    ) throws(LoadError) -> (LoadPlan, create: String?) {
        var create: String?
        if offline.table == nil {
            let statement = try inferred(names, source).create
            try offline.define(statement)
            create = statement
        }
        guard let table = offline.described else {
            throw .schema("no definition of table \(options.keyspace).\(options.table)")
        }
        let plan = try LoadPlan(table, names: names, nulls: options.nulls)
        try offline.open()
        return (plan, create)
    }

    private func existingPlan(_ names: [String]?) throws(LoadError) -> LoadPlan {
        let table: DescribedTable?
        do throws(ClientError) {
            table = try Connection.open(options.connection).table(keyspace: options.keyspace, name: options.table)
        } catch {
            throw .client(error)
        }
        guard let table else {
            throw .schema(
                "there is no table \(options.keyspace).\(options.table); --create creates it with types inferred from the data"
            )
        }
        return try LoadPlan(table, names: names, nulls: options.nulls)
    }

    private func make(_ create: String) throws(LoadError) {
        do throws(ClientError) {
            let connection = try Connection.open(options.connection)
            let keyspaces = try connection.keyspaceNames()
            if !keyspaces.contains(options.keyspace) {
                _ = try connection.query(
                    "CREATE KEYSPACE IF NOT EXISTS \(Identifier.quoted(options.keyspace)) WITH replication = "
                        + "{'class': 'SimpleStrategy', 'replication_factor': '1'}")
            }
            _ = try connection.query(create)
        } catch {
            throw .client(error)
        }
    }

    /// Infers the table from the data. A file is read separately for this; of standard input, the first records are
    /// previewed.
    private func inferred(_ names: [String]?, _ source: RecordSource) throws(LoadError) -> (
        table: DescribedTable, create: String
    ) {
        var inference = TypeInference(framing, names: names ?? [], nulls: options.nulls)
        if path == "-" {
            let limit = options.inferRows ?? LoadRun.defaultStreamedInferRows
            try source.preview { chunk in inference.look(chunk, limit: limit) }
        } else {
            let limit = options.inferRows ?? Int.max
            let second = try RecordSource(path, framing: framing)
            if isCSV && options.hasHeader { _ = try second.takeFirst() }
            while let chunk = try second.next() { if !inference.look(chunk, limit: limit) { break } }
        }
        if options.key == nil && inference.firstColumnRepeats {
            diagnostic(
                "values of the first column, \(inference.names.first ?? ""), repeat: as the key it keeps one row of each; name a longer one with --key"
            )
        }
        var columns: [(name: String, guess: TypeGuess)] = []
        for (name, guess) in zip(inference.names, inference.guesses) where name != "-" {
            columns.append((LoadPlan.columnName(name), guess))
        }
        return try LoadPlan.table(keyspace: options.keyspace, name: options.table, columns: columns, key: options.key)
    }

    private func load(_ plan: LoadPlan, _ source: RecordSource, _ report: inout LoadReport) throws(LoadError) {
        let rejectPath = options.rejectFile ?? LoadRun.defaultRejectPath(path)
        let ledger = try ledger(plan, source, rejectPath, &report)
        let meter = options.showsProgress ? ProgressMeter(source, ledger) : nil
        let options = options
        let offline = offline
        WorkerThreads.run(options.isDryRun ? 1 : options.connections) { _ in
            do throws(LoadError) {
                if options.isDryRun {
                    try DryRunWorker(plan: plan, source: source, ledger: ledger).run()
                } else if let offline {
                    try OfflineWorker(plan: plan, source: source, ledger: ledger, target: offline).run()
                } else {
                    try LoadRun.work(options, plan, source, ledger)
                }
            } catch {
                ledger.fail(error)
            }
        }
        do throws(LoadError) { try offline?.flush(ledger) } catch { ledger.fail(error) }
        meter?.stop()
        let totals = ledger.totals
        report.rows += totals.rows
        report.refused += totals.refused - ledger.unknown
        report.unknown += ledger.unknown
        report.bytes += totals.bytes
        if totals.refused > 0 { report.rejectFiles.append(rejectPath) }
        if let failure = ledger.failure {
            ledger.save()
            if totals.refused > 0 { diagnostic("refused records are in \(rejectPath)") }
            throw failure
        }
        ledger.finish()
    }

    /// Returns a new ledger for this load, or one that continues an interrupted load.
    private func ledger(
        _ plan: LoadPlan, _ source: RecordSource, _ rejectPath: String, _ report: inout LoadReport
    ) throws(LoadError) -> LoadLedger {
        let identity = source.identity
        var target = "\(options.keyspace).\(options.table) \(plan.columns.map(\.name).joined(separator: ","))"
        if let directory = options.sstableDirectory { target += " in " + directory }
        let canResume = options.resumes && !options.isDryRun && identity.size != nil
        let isExact = plan.isCounter && !options.isDryRun
        let statePath = canResume ? path + ".auspex-load" : nil
        // After the header, which was removed.
        let (offset, line) = source.nextPlace
        var start = LoadState(
            size: identity.size ?? 0, modified: identity.modified, target: target, offset: offset, line: line, rows: 0)
        var interrupted: LoadState?
        if let statePath, let saved = LoadRun.state(statePath) {
            if saved.size == start.size && saved.modified == start.modified && saved.target == target {
                interrupted = saved
            } else if isExact {
                throw .input(
                    "\(statePath) is of another load, or \(path) has changed since: counts that were added would be added again. "
                        + "Remove it to start over")
            } else {
                diagnostic("\(statePath) is of another load; starting over")
            }
        }
        if isExact { source.useSmallChunks() }
        guard let interrupted else {
            unlink(rejectPath)
            return LoadLedger(
                start: start, statePath: statePath, rejectPath: rejectPath, maxErrors: options.maxErrors,
                isExact: isExact)
        }
        report.resumed += interrupted.rows
        if !isExact {
            try source.restart(at: interrupted.offset, line: interrupted.line)
            return LoadLedger(
                start: interrupted, statePath: statePath, rejectPath: rejectPath, maxErrors: options.maxErrors)
        }
        start = interrupted
        start.open = []
        let ledger = LoadLedger(
            start: start, statePath: statePath, rejectPath: rejectPath, maxErrors: options.maxErrors, isExact: true)
        try resumeCounters(interrupted, plan, source, ledger)
        return ledger
    }

    /// Continues an interrupted load of counters: records that were being sent go to the reject file; unsent ones and
    /// the rest of the file are sent.
    private func resumeCounters(_ state: LoadState, _ plan: LoadPlan, _ source: RecordSource, _ ledger: LoadLedger)
        throws(LoadError)
    {
        // Uses a separate reader, because the spans lie before the position where `source` continues.
        let again = try RecordSource(path, framing: framing)
        var encoder = RowEncoder(plan, framing)
        var out = ByteWriter(capacity: 4096)
        var unsent: [RecordChunk] = []
        let spans = state.open.map { (span: $0, isOpen: true) } + state.unsent.map { (span: $0, isOpen: false) }
        for (span, isOpen) in spans.sorted(by: { $0.span.start < $1.span.start }) {
            let chunk = try again.read(span)
            guard isOpen else {
                unsent.append(chunk)
                continue
            }
            chunk.records(with: &encoder, into: &out) { outcome, line, record, _ in
                switch outcome {
                case .row:
                    ledger.doubt(
                        line: line, reason: "it was being sent when an earlier load was interrupted", record: record())
                case .blank: break
                case .refused(let reason): ledger.reject(line: line, reason: reason, record: record())
                }
                return true
            }
        }
        try source.restart(at: state.offset, line: state.line)
        source.putBack(unsent)
        ledger.save()
        var text = "\(path): \(state.rows) records were counted before; "
        if ledger.unknown > 0 {
            text +=
                "\(ledger.unknown) more were being sent and may have been counted or not: they are in \(ledger.rejectPath) "
            text += "and are not sent again; "
        }
        diagnostic(text + "going on at line \(unsent.map(\.firstLine).min() ?? state.line)")
    }

    /// Returns a path next to the input, or in the working directory when the input's directory is not writable.
    private static func defaultRejectPath(_ path: String) -> String {
        if path == "-" { return "auspex-load.rejected" }
        guard let slash = path.lastIndex(of: "/") else { return path + ".rejected" }
        let isWritable = access(String(path[...slash]), W_OK) == 0
        return (isWritable ? path : String(path[path.index(after: slash)...])) + ".rejected"
    }

    private static func work(
        _ options: LoadOptions, _ plan: LoadPlan, _ source: RecordSource, _ ledger: LoadLedger
    ) throws(LoadError) {
        var worker: LoadWorker
        do throws(ClientError) {
            worker = try LoadWorker(options, plan, source, ledger)
        } catch {
            throw .client(error)
        }
        try worker.run()
    }

    private static func state(_ path: String) -> LoadState? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        let bytes = [UInt8](unsafeUninitializedCapacity: 1 << 16) { room, count in
            count = max(0, read(descriptor, room.baseAddress, 1 << 16))
        }
        return LoadState(parsing: String(decoding: bytes, as: UTF8.self))
    }
}

/// Writes a line to standard error.
func diagnostic(_ text: String) { standardError(text + "\n") }

func standardError(_ text: String) {
    var copy = text
    copy.withUTF8 { bytes in
        var written = 0
        while written < bytes.count {
            let count = write(2, bytes.baseAddress.map { $0 + written }, bytes.count - written)
            if count <= 0 { return }
            written += count
        }
    }
}
