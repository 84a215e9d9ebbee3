/// A connection, as its protocol handler sees it.
///
/// A connection belongs to one loop; every method except `onLoop` is called there.
public protocol Connection: AnyObject, Sendable {
    /// The address and port of the other end, for logs and traces.
    var peer: String { get }
    /// The index of the connection's loop, from 0.
    var loop: Int { get }
    /// Runs `work` on the connection's loop; from any thread.
    func onLoop(_ work: @escaping @Sendable () -> Void)
    /// Answers are ready: `takeOutput` is called at the end of the loop's turn (`LoopTurn`).
    func markReady()
    /// Presents unconsumed input again, when the handler has space again.
    func resumeInput()
    /// Closes the connection after all taken output has been sent.
    func closeAfterOutput()
}

/// The protocol handler of a connection: bytes in, bytes out, no I/O of its own.
///
/// All methods are called on the connection's loop.
public protocol ConnectionHandler: AnyObject {
    /// Consumes what it can from the front of `input`; the rest is presented again, followed by more.
    /// - Returns: bytes consumed.
    func receive(_ input: UnsafeRawBufferPointer) -> Int
    /// Whether to stop reading from the other end, because enough output is waiting. `resumeInput` resumes reading.
    var isPaused: Bool { get }
    /// Passes on the output that is ready.
    /// - Parameters:
    ///   - failure: why the commit log could not be flushed; then no write of this turn may be acknowledged.
    ///   - body: gets the bytes.
    func takeOutput(failure: String?, _ body: (UnsafeRawBufferPointer) -> Void)
    /// What was handed over so far has left the process, up to a bounded rest: its memory need not be counted any more.
    func outputSent()
    /// The client sends no more; `rest` was not consumed.
    func inputEnded(_ rest: UnsafeRawBufferPointer)
    /// The connection is not encrypted as required, and none of its input is presented. If the other end sent plain
    /// bytes, output written now reaches it; otherwise the connection is about to close.
    func encryptionFailed(_ failure: EncryptionFailure)
    /// The connection is closed.
    func closed()
}

extension ConnectionHandler {
    public func outputSent() {}
}

/// Makes what a loop wrote in one turn durable enough to acknowledge.
public protocol Acknowledgement: Sendable {
    /// Rises with every write. If it has not risen since the last turn, this turn acknowledges nothing that a failed
    /// flush could lose.
    var mark: UInt64 { get }
    /// How often flushes have begun to fail. A turn in which it rises may have read what the failed flush could lose.
    var failures: UInt64 { get }
    /// Hands the commit log to the kernel; called at the end of a turn. Returns the reason when that fails, else nil.
    func flush() -> String?
    /// Whether flushed writes must be synced to disk before they are acknowledged.
    var needsSync: Bool { get }
    /// Waits for the sync on a background thread, then calls `done` with the reason of a failure, or nil.
    func sync(_ done: @escaping @Sendable (String?) -> Void)
}

/// A listening port.
public protocol Listener: Sendable {
    /// The port number in use.
    var port: Int { get }
    func close()
}

/// The event loops of a process, for code that only schedules work on them.
public protocol EventLoops: Sendable {
    /// Runs `work` on a loop. Call from any thread.
    func onLoop(_ loop: Int, _ work: @escaping @Sendable () -> Void)
    /// Runs `work` on a loop after a delay. Call from any thread.
    func schedule(loop: Int, nanoseconds: UInt64, _ work: @escaping @Sendable () -> Void)
    /// Asked at each place where a fiber might yield, whether it does although its time is not up: for the simulator.
    func yieldsNow() -> Bool
    /// Whether debug builds look for simultaneous accesses of a variable by several fibers: for the simulator. Each
    /// access is compared with those of all fibers that wait, which takes too long with thousands.
    var comparesAccessesOfFibers: Bool { get }
}

extension EventLoops {
    public func yieldsNow() -> Bool { false }
    public var comparesAccessesOfFibers: Bool { false }
}

/// Opens and accepts connections.
public protocol Network: EventLoops {
    /// The number of loops that serve connections.
    var loops: Int { get }
    /// Accepts connections at `host` and `port` (0: any free port). Each gets a handler, created on its loop.
    /// - Throws: `NetworkError` when the address cannot be used.
    func listen(
        host: String, port: Int, acknowledgement: (any Acknowledgement)?,
        _ makeHandler: @escaping @Sendable (any Connection) -> any ConnectionHandler
    ) throws(NetworkError) -> any Listener
    /// Like the method above, with encryption.
    func listen(
        host: String, port: Int, encryption: Encryption, acknowledgement: (any Acknowledgement)?,
        _ makeHandler: @escaping @Sendable (any Connection) -> any ConnectionHandler
    ) throws(NetworkError) -> any Listener
    /// Opens a connection that belongs to `loop`; call it on that loop. The handler is created soon after. When the
    /// connection cannot be opened, or ends, the handler's `closed` is called.
    func connect(
        host: String, port: Int, loop: Int, _ makeHandler: @escaping @Sendable (any Connection) -> any ConnectionHandler
    )
    /// Like the method above, with encryption.
    func connect(
        host: String, port: Int, loop: Int, encryption: Encryption,
        _ makeHandler: @escaping @Sendable (any Connection) -> any ConnectionHandler)
    /// Tells `waiter` on the loop when everything written so far is safe to acknowledge, or why it is not. Call it on
    /// the loop.
    func whenSafe(
        loop: Int, _ acknowledgement: any Acknowledgement, _ waiter: any SafetyWaiter, token: UInt64)
    func stop()
}

extension Network {
    /// Like the method above, with a closure.
    public func whenSafe(
        loop: Int, _ acknowledgement: any Acknowledgement, _ work: @escaping @Sendable (_ failure: String?) -> Void
    ) {
        whenSafe(loop: loop, acknowledgement, SafetyClosure(work), token: 0)
    }
}

/// A closure that waits until writes are safe.
private final class SafetyClosure: SafetyWaiter {
    private let work: @Sendable (String?) -> Void
    init(_ work: @escaping @Sendable (String?) -> Void) { self.work = work }
    func writesAreSafe(_ token: UInt64, failure: String?) { work(failure) }
}

/// The reason why an address cannot be listened on.
public struct NetworkError: Error, Sendable, CustomStringConvertible {
    public var description: String
    public init(_ description: String) { self.description = description }
}
