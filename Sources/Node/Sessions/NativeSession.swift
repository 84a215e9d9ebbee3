import CQL
import Coordinator
import DataModel
import Messages
import NativeProtocol
import Platform
import Primitives
import Query

/// A connection of the native protocol.
///
/// 1. Each frame is handled on a fiber. Requests that do not wait are answered at once into one buffer, the others
///    later, in any order.
/// 2. At the end of the tick the commit log is flushed, then the buffer is sent. If the flush fails, every answer of
///    the tick is replaced by an error.
/// 3. When answers or waiting requests accumulate, reading from the client pauses.
///
/// SAFETY: `@unchecked Sendable` because all state is accessed on the connection's loop only.
final class NativeSession: ClientSession, ConnectionHandler, FiberTask, @unchecked Sendable {
    /// The frame to be handled by a fiber that is about to start.
    private var current: Frame?
    private var decoder: FrameDecoder
    private var requests = RequestDecoder()
    private var encoder = ResponseEncoder(version: .v4)
    private var segments: SegmentEncoder?
    /// Encoded answers; the first `plainCount` bytes are sent without segments.
    private var frames = ByteWriter(capacity: 4096)
    private var plainCount = 0
    private var wire = ByteWriter(capacity: 16)
    /// The streams answered in this tick, to be answered with an error if the log fails.
    private var answered: [Int16] = []
    /// Whether this tick has output that an error answer cannot replace.
    private var hasOtherOutput = false
    private var isStarted = false
    private var keyspace: String?
    private var eventKinds: Set<ServerEvent.Kind> = []
    private var eventID: Int?
    private(set) var driver = ""

    static let waitingLimit = 512

    override init(connection: any Connection, server: NodeServices) {
        decoder = FrameDecoder(maxFrameBytes: server.configuration.nativeTransportMaxFrameSize)
        super.init(connection: connection, server: server)
    }

    // MARK: Input

    var isPaused: Bool {
        frames.count >= NativeSession.pauseOutputBytes || waiting >= NativeSession.waitingLimit
            || waitingBytes + unsentReservation
                >= server.configuration.nativeTransportMaxRequestDataInFlightPerConnection
    }

    func receive(_ input: UnsafeRawBufferPointer) -> Int {
        var consumed = 0
        if isClosing { return input.count }
        do throws(ProtocolError) {
            while !isPaused && !isClosing, let frame = try decoder.next(input, consumed: &consumed) { handle(frame) }
            // Before STARTUP, refuse an oversized frame at its header.
            if let header = decoder.skipped, !isStarted {
                throw .frameTooLarge(length: header.length, limit: decoder.maxFrameBytes, stream: header.stream)
            }
        } catch {
            server.counters.protocolErrors.add(1, ordering: .relaxed)
            if !isStarted, input.first == FirstByte.tls {
                server.encryptionFailed(connection, NodeServices.tlsClientReason)
            }
            let start = frames.count
            ResponseEncoder.refusal(error, version: decoder.version, into: &frames)
            if segments == nil { plainCount += frames.count - start }
            close()
            return input.count
        }
        if frames.count > 0 { connection.markReady() }
        return consumed
    }

    /// Handles a frame on a fiber. When this returns, the frame has been answered or its fiber waits.
    @inline(__always) private func handle(_ frame: Frame) {
        encoder.version = frame.header.version
        current = frame
        if !run(self, bytes: frame.body.count) {
            current = nil
            fail(RequestRunner.overloaded, frame.header.stream)
        }
    }

    /// Handles the frame. Its bytes are valid until the fiber waits for the first time.
    func run(on fiber: Fiber) {
        guard let frame = current else { return }
        current = nil
        let (stream, version, bytes) = (frame.header.stream, frame.header.version, frame.body.count)
        let context = RequestRunner.context(of: fiber)
        do throws(ServerError) {
            try answer(frame, context)
        } catch { fail(error, stream) }
        context.end()
        if !fiber.hasWaited { return }
        encoder.version = version
        endWaiting(bytes: bytes, wasPaused: isPaused)
    }

    @inline(__always) private func answer(_ frame: Frame, _ context: RequestContext) throws(ServerError) {
        let stream = frame.header.stream
        let request = try requests.decode(frame)
        guard isStarted || NativeSession.isAllowedBeforeStartup(request) else {
            throw ServerError(.protocolError, "the first message of a connection is STARTUP or OPTIONS")
        }
        if server.isDraining { throw NodeServices.drainingError }
        switch request {
        case .execute(let id, let metadata): try execute(frame, id: id, metadata: metadata, context)
        case .query(let text):
            let statement = try engine.statement(
                RequestDecoder.text(frame.body, text), keyspace: requests.options.keyspace ?? keyspace)
            try run(statement, frame, changedMetadata: nil, context)
        case .prepare(let text, let named):
            try prepare(RequestDecoder.text(frame.body, text), named ?? keyspace, stream)
        case .batch: try batch(frame, context)
        case .startup(let options): try startup(options, frame.header)
        case .options:
            hasOtherOutput = true
            encoder.supported(cqlVersion: NodeInfo.cqlVersion, ResponseHead(stream: stream), into: &frames)
        case .authResponse:
            hasOtherOutput = true
            encoder.authSuccess(nil, ResponseHead(stream: stream), into: &frames)
        case .register(let kinds):
            hasOtherOutput = true
            eventKinds.formUnion(kinds)
            if eventID == nil { eventID = server.events.register(self) }
            encoder.ready(ResponseHead(stream: stream), into: &frames)
        }
    }

    private static func isAllowedBeforeStartup(_ request: Request) -> Bool {
        switch request {
        case .startup, .options: true
        default: false
        }
    }

    private func startup(_ options: StartupOptions, _ header: FrameHeader) throws(ServerError) {
        let compression = try options.agreedCompression(header.version)
        driver = [options.driverName, options.driverVersion].compactMap { $0 }.joined(separator: " ")
        isStarted = true
        hasOtherOutput = true
        let start = frames.count
        encoder.ready(ResponseHead(stream: header.stream), into: &frames)
        if header.version >= .v5 {
            plainCount = frames.count
            segments = SegmentEncoder(compression: compression)
            decoder.beginSegments(compression: compression)
        } else {
            encoder.compression = compression
            decoder.compression = compression
        }
        precondition(frames.count > start, "READY was written")
    }

    // MARK: Statements

    @inline(__always) private func queryOptions(_ frame: Frame, _ context: RequestContext) -> Query.QueryOptions {
        let isTracing = frame.header.wantsTracing
        var result = Query.QueryOptions(
            consistency: requests.options.consistency,
            serialConsistency: requests.options.serialConsistency ?? .serial,
            pageSize: requests.options.pageSize ?? 0, pagingState: requests.options.pagingState,
            timestamp: requests.options.defaultTimestamp, nowInSeconds: requests.options.nowInSeconds,
            isTracing: isTracing, clientAddress: isTracing ? connection.peer : "")
        result.port = server.port(result, loop: loop, context: context)
        return result
    }

    @inline(__always) private func execute(
        _ frame: Frame, id: Range<Int>, metadata: Range<Int>?, _ context: RequestContext
    ) throws(ServerError) {
        let bytes = UnsafeRawBufferPointer(rebasing: frame.body[id])
        guard bytes.count == 16 else {
            throw ServerError(
                .unprepared, "a prepared statement has an id of 16 bytes, not \(bytes.count)",
                detail: .unprepared(id: [UInt8](bytes)))
        }
        let statementID = StatementID(
            high: bytes.loadUnaligned(as: UInt64.self).bigEndian,
            low: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self).bigEndian)
        guard let statement = engine.prepared(statementID, context) else {
            let hex = UUID(high: statementID.high, low: statementID.low).description.filter { $0 != "-" }
            throw ServerError(
                .unprepared,
                "Prepared query with ID \(hex) not found; prepare it again (the server was restarted, or forgot the statement)",
                detail: .unprepared(id: [UInt8](bytes)))
        }
        var changed: [UInt8]?
        if let metadata {
            let known = UnsafeRawBufferPointer(rebasing: frame.body[metadata])
            let present = statement.resultMetadataID
            if !present.withUnsafeBytes({ compareBytes($0, known) == 0 }) { changed = present }
        }
        try run(statement, frame, changedMetadata: changed, context)
    }

    @inline(__always) private func run(
        _ statement: PreparedStatement, _ frame: Frame, changedMetadata: [UInt8]?, _ context: RequestContext
    ) throws(ServerError) {
        let (stream, options, skip) = (frame.header.stream, queryOptions(frame, context), requests.options.skipMetadata)
        let answer = try execute(options, context) { () throws(ServerError) in
            try engine.execute(statement, values: requests.options.values, options: options, context: context)
        }
        self.answer(answer, stream, skipMetadata: skip, changedMetadata)
    }

    private func batch(_ frame: Frame, _ context: RequestContext) throws(ServerError) {
        let batch = requests.batch
        var statements: [(statement: PreparedStatement, values: ValueList)] = []
        for index in 0..<batch.count {
            let one = batch.statements[index]
            switch one.source {
            case .text(let range):
                statements.append(
                    (
                        try engine.statement(
                            RequestDecoder.text(frame.body, range), keyspace: requests.options.keyspace ?? keyspace),
                        one.values
                    ))
            case .prepared(let range):
                let bytes = [UInt8](UnsafeRawBufferPointer(rebasing: frame.body[range]))
                guard let id = StatementID(bytes), let statement = engine.prepared(id, context) else {
                    throw ServerError(
                        .unprepared, "a statement of the batch is not prepared here; prepare it again",
                        detail: .unprepared(id: bytes))
                }
                statements.append((statement, one.values))
            }
        }
        let kind: BatchPlan.Kind
        switch batch.kind {
        case .logged: kind = .logged
        case .unlogged: kind = .unlogged
        case .counter: kind = .counter
        }
        let (stream, options) = (frame.header.stream, queryOptions(frame, context))
        let answer = try execute(options, context) { () throws(ServerError) in
            try engine.executeBatch(kind, statements, options: options, context: context)
        }
        self.answer(answer, stream, skipMetadata: false, nil)
    }

    private func prepare(_ text: String, _ keyspace: String?, _ stream: Int16) throws(ServerError) {
        let statement = try engine.prepare(text, keyspace: keyspace)
        encoder.prepared(NativeSession.description(statement), ResponseHead(stream: stream), into: &frames)
        answered.append(stream)
    }

    static func description(_ statement: PreparedStatement) -> PreparedDescription {
        PreparedDescription(
            id: statement.id.bytes, resultMetadataID: statement.resultMetadataID,
            markers: statement.planned.bindVariables,
            partitionKeyMarkers: statement.planned.partitionKeyIndexes.map { UInt16(truncatingIfNeeded: $0) },
            result: statement.planned.resultMetadata)
    }

    // MARK: Answers

    @inline(__always) private func answer(_ answer: Answer, _ stream: Int16, skipMetadata: Bool, _ changed: [UInt8]?) {
        if case .void = answer.result, answer.warnings.isEmpty, answer.tracingID == nil {
            encoder.void(stream: stream, into: &frames)
        } else {
            if case .setKeyspace(let name) = answer.result { keyspace = name }
            let head = ResponseHead(stream: stream, tracingID: answer.tracingID, warnings: answer.warnings)
            encoder.result(answer.result, head, skipMetadata: skipMetadata, changedMetadataID: changed, into: &frames)
        }
        answered.append(stream)
    }

    private func fail(_ error: ServerError, _ stream: Int16) {
        failureCount.add(1)
        encoder.error(error, ResponseHead(stream: stream), into: &frames)
        answered.append(stream)
    }

    /// Sends an event that the client registered for. Call from any thread.
    func push(_ event: ServerEvent) {
        connection.onLoop { [self] in
            guard eventKinds.contains(event.kind), !isClosing else { return }
            hasOtherOutput = true
            encoder.event(event, into: &frames)
            connection.markReady()
        }
    }

    func takeOutput(failure: String?, _ body: (UnsafeRawBufferPointer) -> Void) {
        if let failure {
            frames.removeAll()
            plainCount = 0
            let error = RequestRunner.notLogged(failure)
            for stream in answered { encoder.error(error, ResponseHead(stream: stream), into: &frames) }
            if hasOtherOutput {
                // A handshake without an answer would hang, so close the connection: the client reconnects.
                close()
            }
        }
        hasOtherOutput = false
        answered.removeAll(keepingCapacity: true)
        if segments != nil {
            wire.removeAll()
            wire.write(UnsafeRawBufferPointer(rebasing: frames.bytes[..<plainCount]))
            segments?.encode(UnsafeRawBufferPointer(rebasing: frames.bytes[plainCount...]), into: &wire)
            body(wire.bytes)
            if wire.count > NativeSession.pauseOutputBytes { wire = ByteWriter(capacity: 4096) }
        } else {
            body(frames.bytes)
        }
        plainCount = 0
        ClientSession.empty(&frames)
    }

    func inputEnded(_ rest: UnsafeRawBufferPointer) { endInput() }

    func encryptionFailed(_ failure: EncryptionFailure) {
        guard reportEncryption(failure) else { return }
        encoder.error(NodeServices.plainError, ResponseHead(stream: 0), into: &frames)
        plainCount = frames.count
    }

    override func closed() {
        if let eventID { server.events.remove(eventID) }
        super.closed()
    }
}
