import DataModel
import Platform
import Primitives
import Query

/// What the sessions of both client protocols share: requests on fibers, memory reserved for answers, and the end of
/// the connection.
///
/// SAFETY: `@unchecked Sendable` because all state is accessed on the connection's loop only.
class ClientSession: @unchecked Sendable {
    final let connection: any Connection
    final let server: NodeServices
    final let runner: RequestRunner
    final let engine: QueryEngine
    final let loop: Int
    private final let admission: AdmissionController
    private final let acknowledgement: LogAcknowledgement
    private final let requestCount: LoopCounter.Cell
    final let failureCount: LoopCounter.Cell
    private final let fibers: FiberPool
    /// The requests whose fibers wait, and the size of their input.
    final private(set) var waiting = 0
    final private(set) var waitingBytes = 0
    /// Reserved for answers that have not been sent.
    final private(set) var unsentReservation = 0
    final var isClosing = false
    private final var isClosed = false
    private final let client = ClientPresence()
    private final var inputHasEnded = false

    static let pauseOutputBytes = 1 << 20

    init(connection: any Connection, server: NodeServices) {
        self.connection = connection
        self.server = server
        runner = server.runner
        engine = server.runner.engine
        admission = server.runner.admission
        acknowledgement = server.acknowledgement
        loop = connection.loop
        requestCount = server.runner.requests.cell(loop: connection.loop)
        failureCount = server.runner.failures.cell(loop: connection.loop)
        fibers = server.runner.fibers(loop: connection.loop)
    }

    // MARK: Requests

    /// Handles a request on a fiber.
    /// - Returns: true when the request has been answered or its fiber waits; false when there are too many requests.
    @inline(__always) final func run(_ task: any FiberTask, bytes: Int) -> Bool {
        requestCount.add(1)
        guard admission.admits(bytes: bytes) else { return false }
        switch fibers.run(task) {
        case .done: break
        case .waiting:
            waiting += 1
            waitingBytes += bytes
            admission.enter(bytes: bytes)
        case .refused: return false
        }
        return true
    }

    /// Executes a statement or batch for the client.
    /// - Parameter body: has the engine execute it.
    @inline(__always) final func execute(
        _ options: Query.QueryOptions, _ context: RequestContext, _ body: () throws(ServerError) -> Answer
    ) throws(ServerError) -> Answer {
        if context.client !== client { context.client = client }
        let failures = acknowledgement.failures
        let answer = try body()
        try server.checkLogAfterWait(context, options, failures)
        unsentReservation += context.takeReservation()
        return answer
    }

    /// Ends a request whose fiber has waited. It has written its answer.
    /// - Parameter wasPaused: whether the session was paused before.
    final func endWaiting(bytes: Int, wasPaused: Bool) {
        waiting -= 1
        waitingBytes -= bytes
        admission.leave(bytes: bytes)
        // Nobody takes the answer any more.
        if isClosed { return outputSent() }
        connection.markReady()
        if inputHasEnded {
            closeIfDone()
        } else if wasPaused {
            // Later, because this may run inside the handling of another request, which resumed this fiber.
            connection.onLoop { [connection] in connection.resumeInput() }
        }
    }

    // MARK: The connection

    /// Empties a buffer of sent output. Releases the memory of a large answer.
    static func empty(_ buffer: inout ByteWriter) {
        if buffer.count > pauseOutputBytes { buffer = ByteWriter(capacity: 4096) } else { buffer.removeAll() }
    }

    final func endInput() {
        inputHasEnded = true
        closeIfDone()
    }

    private final func closeIfDone() { if inputHasEnded && waiting == 0 { close() } }

    final func close() {
        isClosing = true
        connection.closeAfterOutput()
    }

    /// Reports that the connection is not encrypted as required.
    /// - Returns: whether output written now reaches the client.
    final func reportEncryption(_ failure: EncryptionFailure) -> Bool {
        isClosing = true
        server.encryptionFailed(connection, failure.otherIsPlain ? NodeServices.plainClientReason : failure.reason)
        return failure.otherIsPlain
    }

    final func outputSent() {
        if unsentReservation == 0 { return }
        admission.release(unsentReservation)
        unsentReservation = 0
    }

    func closed() {
        isClosed = true
        client.leave()
        outputSent()
        server.connectionClosed(connection)
    }
}
