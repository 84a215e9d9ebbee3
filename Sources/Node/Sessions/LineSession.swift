import CQL
import Coordinator
import DataModel
import LineProtocol
import Messages
import Platform
import Primitives
import Query

/// A connection of the line protocol: requests are answered in order, one at a time.
///
/// SAFETY: `@unchecked Sendable` because all state is accessed on the connection's loop only.
final class LineSession: ClientSession, ConnectionHandler, FiberTask, @unchecked Sendable {
    /// The line to be handled by a fiber that is about to start.
    private var current: UnsafeRawBufferPointer?
    private var splitter: LineSplitter
    private var writer = LineResponseWriter()
    private var out = ByteWriter(capacity: 4096)
    /// The number of answers in this tick, to be replaced by errors if the log fails.
    private var answers = 0
    /// Bytes of the texts of prepared statements.
    private var preparedBytes = 0

    private var keyspace: String?
    private var consistency = Consistency.one
    private var serialConsistency = Consistency.serial
    private var pageSize = 0
    private var isTracing = false
    private var prepared: [String: PreparedStatement] = [:]
    /// The answer that `\next` continues.
    private var open: (statement: PreparedStatement, values: ValueList, state: [UInt8])?

    private var isFirst = true

    static let preparedLimit = 1000
    /// A statement is many times as large in memory as its text.
    static let preparedBytesLimit = 1 << 20

    override init(connection: any Connection, server: NodeServices) {
        splitter = LineSplitter(maxLineBytes: server.configuration.lineMaxLength)
        super.init(connection: connection, server: server)
    }

    var isPaused: Bool {
        waiting > 0 || out.count >= LineSession.pauseOutputBytes
            || unsentReservation >= server.configuration.nativeTransportMaxRequestDataInFlightPerConnection
    }

    func receive(_ input: UnsafeRawBufferPointer) -> Int {
        var consumed = 0
        if isClosing { return input.count }
        loop: while !isPaused && !isClosing {
            switch splitter.next(input, consumed: &consumed) {
            case .line(let range): handle(UnsafeRawBufferPointer(rebasing: input[range]))
            case .tooLong: tooLong()
            case .needMore: break loop
            }
        }
        if out.count > 0 { connection.markReady() }
        return consumed
    }

    func inputEnded(_ rest: UnsafeRawBufferPointer) {
        var consumed = 0
        switch splitter.last(rest, consumed: &consumed) {
        case .line(let range) where range.count > 0: handle(UnsafeRawBufferPointer(rebasing: rest[range]))
        case .tooLong: tooLong()
        default: break
        }
        endInput()
    }

    private func tooLong() {
        writer.tooLong(limit: server.configuration.lineMaxLength, into: &out)
        answers += 1
    }

    /// Whether a line is the first of an HTTP request, which a web page can have its browser send here.
    static func isHTTP(_ line: UnsafeRawBufferPointer) -> Bool {
        let end = line.last == UInt8(ascii: "\r") ? line.dropLast() : line[...]
        return end.suffix(9).elementsEqual(" HTTP/1.1".utf8) || end.suffix(9).elementsEqual(" HTTP/1.0".utf8)
    }

    /// Handles a line on a fiber. When this returns, the line has been answered or its fiber waits.
    private func handle(_ line: UnsafeRawBufferPointer) {
        if isFirst {
            isFirst = false
            if LineSession.isHTTP(line) {
                fail(ServerError(.protocolError, "this port speaks the line protocol, not HTTP"))
                return close()
            }
        }
        current = line
        if !run(self, bytes: line.count) {
            current = nil
            fail(RequestRunner.overloaded)
        }
    }

    /// Handles the line. Its bytes are valid until the fiber waits for the first time.
    func run(on fiber: Fiber) {
        guard let line = current else { return }
        current = nil
        let bytes = line.count
        let context = RequestRunner.context(of: fiber)
        do throws(ServerError) { try answer(line, context) } catch { fail(error) }
        context.end()
        if !fiber.hasWaited { return }
        endWaiting(bytes: bytes, wasPaused: isPaused)
    }

    private func answer(_ line: UnsafeRawBufferPointer, _ context: RequestContext) throws(ServerError) {
        let request = try LineRequest.parse(line)
        if server.isDraining { throw NodeServices.drainingError }
        switch request {
        case .nothing: return
        case .statement(let range):
            guard let text = String(validating: UnsafeRawBufferPointer(rebasing: line[range]), as: UTF8.self) else {
                throw ServerError(.protocolError, "the statement is not valid UTF-8")
            }
            try run(engine.statement(text, keyspace: keyspace), ValueList(), pagingState: nil, context)
        case .command(let command): try run(command, context)
        }
    }

    private func fail(_ error: ServerError) {
        failureCount.add(1)
        writer.error(error, into: &out)
        answers += 1
    }

    private func done(_ text: String) {
        writer.done(text, into: &out)
        answers += 1
    }

    private func run(_ command: LineCommand, _ context: RequestContext) throws(ServerError) {
        switch command {
        case .consistency(let level):
            if let level { consistency = level }
            done("consistency \(consistency.name)")
        case .serialConsistency(let level):
            if let level { serialConsistency = level }
            done("serial consistency \(serialConsistency.name)")
        case .page(let rows):
            if let rows { pageSize = rows }
            done(pageSize == 0 ? "paging off" : "\(pageSize) rows a page")
        case .next:
            guard let open else {
                throw .invalid("there is no answer to continue; \\next follows an answer that ended with >")
            }
            try run(open.statement, open.values, pagingState: open.state, context)
        case .format(let format):
            if let format { writer.format = format }
            done("format \(writer.format.rawValue)")
        case .tracing(let isOn):
            if let isOn { isTracing = isOn }
            done("tracing \(isTracing ? "on" : "off")")
        case .login: done("logged in; this server asks for no password")
        case .prepare(let name, let statement):
            guard prepared.count < LineSession.preparedLimit || prepared[name] != nil else {
                throw .invalid("a session keeps at most \(LineSession.preparedLimit) prepared statements")
            }
            let before = prepared[name].map { $0.text.utf8.count } ?? 0
            let bytes = preparedBytes - before + statement.utf8.count
            guard bytes <= LineSession.preparedBytesLimit else {
                throw .invalid("a session keeps at most \(LineSession.preparedBytesLimit) bytes of prepared statements")
            }
            prepared[name] = try engine.prepare(statement, keyspace: keyspace)
            preparedBytes = bytes
            done("prepared \(name)")
        case .execute(let name, let json):
            guard let statement = prepared[name] else {
                throw .invalid("nothing is prepared under \(name); \\prepare \(name) CQL comes first")
            }
            try run(
                statement, LineBinding.values(json, markers: statement.planned.bindVariables), pagingState: nil, context
            )
        case .timing:
            writer.showsTimes.toggle()
            done("timing \(writer.showsTimes ? "on" : "off")")
        case .help:
            writer.help(into: &out)
            answers += 1
        case .quit:
            done("bye")
            close()
        }
    }

    private func run(
        _ statement: PreparedStatement, _ values: ValueList, pagingState: [UInt8]?, _ context: RequestContext
    ) throws(ServerError) {
        var options = Query.QueryOptions(
            consistency: consistency, serialConsistency: serialConsistency, pageSize: pageSize,
            pagingState: pagingState,
            keyspace: keyspace, isTracing: isTracing, clientAddress: connection.peer)
        options.port = server.port(options, loop: loop, context: context)
        let started = server.time.monotonicNanoseconds()
        let answer = try execute(options, context) { () throws(ServerError) in
            try engine.execute(statement, values: values, options: options, context: context)
        }
        finish(answer, statement, values, started)
    }

    private func finish(_ answer: Answer, _ statement: PreparedStatement, _ values: ValueList, _ started: UInt64) {
        if case .setKeyspace(let name) = answer.result { keyspace = name }
        open = nil
        if case .rows(let rows) = answer.result, let state = rows.pagingState { open = (statement, values, state) }
        if let id = answer.tracingID, let trace = engine.traces.session(id) {
            for event in trace.events {
                writer.trace(event.activity, elapsed: .microseconds(Int64(event.elapsedMicroseconds)), into: &out)
            }
        }
        let elapsed = Duration.nanoseconds(Int64(server.time.monotonicNanoseconds() - started))
        writer.answer(answer.result, warnings: answer.warnings, elapsed: elapsed, into: &out)
        answers += 1
    }

    func takeOutput(failure: String?, _ body: (UnsafeRawBufferPointer) -> Void) {
        if let failure {
            out.removeAll()
            for _ in 0..<answers { writer.error(RequestRunner.notLogged(failure), into: &out) }
        }
        answers = 0
        body(out.bytes)
        ClientSession.empty(&out)
    }

    func encryptionFailed(_ failure: EncryptionFailure) {
        if reportEncryption(failure) { writer.error(NodeServices.plainError, into: &out) }
    }
}
