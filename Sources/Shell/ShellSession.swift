import Client
import DataModel
import Glibc
import NativeProtocol
import Primitives

/// The state of one run of the shell: settings, output, and the statement being read.
final class ShellSession {
    /// The page size on a terminal, as in cqlsh.
    static let defaultPageRows = 100
    /// The greatest nesting depth of SOURCE.
    static let maxSourceDepth = 16

    let backend: any QueryBackend
    let isInteractive: Bool
    let isColoured: Bool
    var keyspace: String?
    var consistency: Consistency
    var serialConsistency = Consistency.serial
    var pageRows = ShellSession.defaultPageRows
    var tracing = false
    var isExpanded = false
    /// The file of CAPTURE.
    private var capture: (path: String, descriptor: Int32)?
    private var sourceDepth = 0
    /// Whether a statement or command failed.
    private(set) var hasFailed = false
    private(set) var isEnded = false
    /// The number of schema changes made; completion reads the names again when it changes.
    private(set) var schemaChanges = 0
    private var splitter = InputSplitter()

    init(_ backend: any QueryBackend, _ options: ShellOptions, isInteractive: Bool) {
        self.backend = backend
        self.isInteractive = isInteractive
        isColoured = options.colour ?? (isatty(1) != 0)
        keyspace = options.keyspace
        consistency = options.consistency
    }

    deinit { if let capture { Glibc.close(capture.descriptor) } }

    var isInsideStatement: Bool { splitter.isInsideStatement }

    /// Drops the unfinished statement.
    func abandonStatement() { splitter.clear() }

    /// Adds input, runs the statements it completes, and returns them.
    @discardableResult
    func feed(_ text: some Sequence<UInt8>) -> [String] {
        let statements = splitter.feed(text)
        for statement in statements where !isEnded { run(statement) }
        return statements
    }

    /// Ends the input and runs the last statement, if there is one.
    func finish() {
        if let last = splitter.finish(), !isEnded { run(last) }
    }

    /// Runs one statement or command and reports errors on standard error.
    func run(_ statement: String) {
        do throws(ShellError) {
            if let command = try ShellCommand.parse(statement) { try run(command) } else { try runOnServer(statement) }
        } catch {
            report(error)
        }
    }

    func report(_ error: ShellError) {
        hasFailed = true
        let text = isColoured && isatty(2) != 0 ? "\u{1B}[0;1;31m\(error.text)\u{1B}[0m\n" : error.text + "\n"
        Terminal.write(text, to: 2)
    }

    /// Writes to standard output, or to the file of CAPTURE.
    func show(_ text: String) {
        guard let capture else {
            if !FileText.write(Array(text.utf8), to: 1) { isEnded = true }
            return
        }
        if !FileText.write(Array(text.utf8), to: capture.descriptor) {
            report(.command("Could not write to '\(capture.path)': \(FileText.lastError)"))
            stopCapture()
        }
    }

    private func stopCapture() {
        if let capture { Glibc.close(capture.descriptor) }
        capture = nil
    }

    func options(pageRows: Int?) -> QueryOptions {
        var options = QueryOptions()
        options.consistency = consistency
        options.serialConsistency = serialConsistency
        options.pageSize = pageRows
        return options
    }

    private func runOnServer(_ statement: String) throws(ShellError) {
        let first = statement.prefix { $0.isLetter }.lowercased()
        if first == "describe" || first == "desc" { return try describe(statement) }
        // On a terminal, a page is what is shown at a time. Otherwise pages only limit memory use.
        let paged = isInteractive ? (pageRows > 0 ? pageRows : nil) : 5000
        var options = options(pageRows: paged)
        var printer = TablePrinter()
        printer.isColoured = isColoured && capture == nil
        printer.isExpanded = isExpanded
        var state = TablePrinter.State()
        var traces: [UUID] = []
        while true {
            let answer = try ask { () throws(ClientError) in try backend.run(statement, options, tracing: tracing) }
            if let id = answer.tracingID { traces.append(id) }
            switch answer.result {
            case .void: break
            case .setKeyspace(let name): keyspace = name
            case .schemaChange: schemaChanges += 1
            case .rows(let rows):
                show(printer.page(rows, &state))
                if let next = rows.pagingState {
                    if isInteractive && capture == nil && !wantsMore() { break }
                    options.pagingState = next
                    continue
                }
                show("\n(\(state.rows) rows)\n")
            }
            if !answer.warnings.isEmpty {
                Terminal.write("\nWarnings :\n" + answer.warnings.map { $0 + "\n\n" }.joined(), to: 2)
            }
            break
        }
        for id in traces { try showTrace(id) }
    }

    private func wantsMore() -> Bool {
        Terminal.write("\n---MORE---")
        let key = Terminal.raw { Terminal.readByte() }
        Terminal.write("\r\u{1B}[K")
        return key != nil && key != UInt8(ascii: "q") && key != UInt8(ascii: "Q") && key != 3
    }

    /// Converts errors of the backend to errors of the shell.
    func ask<R>(_ body: () throws(ClientError) -> R) throws(ShellError) -> R {
        do throws(ClientError) { return try body() } catch { throw .client(error) }
    }

    private func run(_ command: ShellCommand) throws(ShellError) {
        switch command {
        case .consistency(let level):
            if let level { consistency = level }
            show(
                level == nil
                    ? "Current consistency level is \(consistency.name).\n"
                    : "Consistency level set to \(consistency.name).\n")
        case .serialConsistency(let level):
            if let level { serialConsistency = level }
            let name = serialConsistency.name
            show(
                level == nil
                    ? "Current serial consistency level is \(name).\n" : "Serial consistency level set to \(name).\n")
        case .paging(let rows):
            if let rows { pageRows = rows }
            if pageRows == 0 {
                show(
                    rows == nil
                        ? "Query paging is currently disabled. Use PAGING ON to enable\n" : "Disabled Query paging.\n")
            } else {
                show(
                    "Query paging is \(rows == nil ? "currently" : "now") enabled. Use PAGING OFF to disable\nPage size: \(pageRows)\n"
                )
            }
        case .pagingOn:
            if pageRows == 0 { pageRows = ShellSession.defaultPageRows }
            show("Now Query paging is enabled\nPage size: \(pageRows)\n")
        case .tracing(let on):
            if let on { tracing = on }
            show(
                on == nil
                    ? "Tracing is currently \(tracing ? "enabled" : "disabled").\n"
                    : "\(tracing ? "Now" : "Disabled") Tracing\(tracing ? " is enabled" : "").\n")
        case .expand(let on):
            if let on { isExpanded = on }
            let state = isExpanded ? "enabled" : "disabled"
            show(on == nil ? "Expanded output is currently \(state).\n" : "Expanded output is now \(state).\n")
        case .source(let path): try source(path)
        case .capture(let target): try capture(target)
        case .showVersion:
            let identity = backend.identity
            show(
                "[auspex shell | Cassandra \(identity.releaseVersion) | CQL spec \(identity.cqlVersion) | Native protocol v\(identity.protocolVersion)]\n"
            )
        case .showHost: show("Connected to \(backend.identity.clusterName) at \(backend.identity.address)\n")
        case .showSession(let id): try showTrace(id)
        case .login(let user, let password):
            guard let password = password ?? (isInteractive ? Terminal.askPassword() : nil) else {
                throw .command("LOGIN needs a password when it cannot ask for one")
            }
            try ask { () throws(ClientError) in try backend.logIn(user: user, password: password) }
        case .clear: if isInteractive { Terminal.write("\u{1B}[H\u{1B}[2J") }
        case .exit: isEnded = true
        case .help(let topics): show(ShellHelp.text(topics))
        case .copy(let statement): try copy(statement)
        }
    }

    /// Runs the statements of a file.
    func source(_ path: String) throws(ShellError) {
        guard sourceDepth < ShellSession.maxSourceDepth else {
            throw .command("SOURCE '\(path)': files nested deeper than \(ShellSession.maxSourceDepth)")
        }
        let descriptor = try FileText.openForReading(path)
        sourceDepth += 1
        let outer = splitter
        splitter = InputSplitter()
        defer {
            Glibc.close(descriptor)
            sourceDepth -= 1
            splitter = outer
        }
        while !isEnded {
            let chunk = FileText.read(descriptor)
            if chunk.isEmpty { break }
            feed(chunk)
        }
        finish()
    }

    private func capture(_ target: ShellCommand.CaptureTarget) throws(ShellError) {
        switch target {
        case .show:
            if let capture {
                Terminal.write("Currently capturing query output to '\(capture.path)'.\n")
            } else {
                show("Currently not capturing query output.\n")
            }
        case .off: stopCapture()
        case .file(let path):
            let descriptor = try FileText.openForWriting(path, appends: true)
            stopCapture()
            capture = (path, descriptor)
            Terminal.write("Now capturing query output to '\(path)'.\n")
        }
    }
}
