/// One client's connection, as its protocol sees it.
///
/// A connection belongs to one loop; everything but `onLoop` is called there.
public protocol Connection: AnyObject, Sendable {
    /// Address and port of the other end, for logs and traces.
    var peer: String { get }
    /// Which loop, from 0.
    var loop: Int { get }
    /// Runs `work` on the connection's loop; from any thread.
    func onLoop(_ work: @escaping @Sendable () -> Void)
    /// Answers are ready: `takeOutput` is called at the end of the loop's turn (`LoopTurn`).
    func markReady()
    /// Presents the input that was not consumed once more: the handler has room again.
    func resumeInput()
    /// Closes when what was taken as output has gone out.
    func closeAfterOutput()
}

/// The protocol spoken on one connection: bytes in, bytes out, no I/O of its own.
///
/// All methods are called on the connection's loop.
public protocol ConnectionHandler: AnyObject {
    /// Takes what it can from the front of `input`; the rest is presented again, followed by more.
    /// - Returns: bytes consumed.
    func receive(_ input: UnsafeRawBufferPointer) -> Int
    /// Whether to stop reading from the client for now: there are enough answers waiting. `resumeInput` ends it.
    var isPaused: Bool { get }
    /// Hands over the answers that are ready.
    /// - Parameters:
    ///   - failure: why the commit log could not be flushed; then no write of this turn may be acknowledged.
    ///   - body: gets the bytes.
    func takeOutput(failure: String?, _ body: (UnsafeRawBufferPointer) -> Void)
    /// The client sends no more; `rest` was not consumed.
    func inputEnded(_ rest: UnsafeRawBufferPointer)
    /// The connection is not encrypted as it should be, and nothing it sent is presented. When the other end is plain, what is written now reaches
    /// it; otherwise the connection is about to close.
    func encryptionFailed(_ failure: EncryptionFailure)
    /// The connection is gone.
    func closed()
}

/// Makes what a loop wrote in one turn durable enough to acknowledge.
public protocol Acknowledgement: Sendable {
    /// Rises with every write. If it has not risen since the last turn, this turn acknowledges nothing that a failed
    /// flush could lose.
    var mark: UInt64 { get }
    /// Hands the commit log to the kernel; called at the end of a turn. Returns the reason when that fails, else nil.
    func flush() -> String?
    /// Whether what was flushed must reach the disk before it is acknowledged.
    var needsSync: Bool { get }
    /// Waits for the disk, on a background thread, then calls `done` with why it failed, or nil.
    func sync(_ done: @escaping @Sendable (String?) -> Void)
}

/// A port that accepts connections.
public protocol Listener: Sendable {
    /// The port it got.
    var port: Int { get }
    func close()
}

/// The loops of a process, as those see them that only need a turn on one.
public protocol EventLoops: Sendable {
    /// Runs `work` on a loop; from any thread.
    func onLoop(_ loop: Int, _ work: @escaping @Sendable () -> Void)
    /// Runs `work` on a loop after a time; from any thread.
    func schedule(loop: Int, nanoseconds: UInt64, _ work: @escaping @Sendable () -> Void)
}

/// Where connections come from.
public protocol Network: EventLoops {
    /// Loops that serve connections.
    var loops: Int { get }
    /// Accepts connections at `host` and `port` (0: a free one); each gets a handler, made on its loop.
    /// - Throws: `NetworkError` when the address cannot be had.
    func listen(
        host: String, port: Int, acknowledgement: (any Acknowledgement)?,
        _ makeHandler: @escaping @Sendable (any Connection) -> any ConnectionHandler
    ) throws(NetworkError) -> any Listener
    /// The same, encrypted or not.
    func listen(
        host: String, port: Int, encryption: Encryption, acknowledgement: (any Acknowledgement)?,
        _ makeHandler: @escaping @Sendable (any Connection) -> any ConnectionHandler
    ) throws(NetworkError) -> any Listener
    /// Opens a connection that belongs to `loop`; call it there. The handler is made soon. When there is no way to the other end, or it
    /// ends, the handler is `closed`.
    func connect(host: String, port: Int, loop: Int, _ makeHandler: @escaping @Sendable (any Connection) -> any ConnectionHandler)
    /// The same, encrypted or not.
    func connect(
        host: String, port: Int, loop: Int, encryption: Encryption,
        _ makeHandler: @escaping @Sendable (any Connection) -> any ConnectionHandler)
    /// Runs `work` on its loop when what was written until now is as safe as an acknowledgement needs, or with the reason why it is not;
    /// call it on the loop.
    func whenSafe(loop: Int, _ acknowledgement: any Acknowledgement, _ work: @escaping @Sendable (_ failure: String?) -> Void)
    func stop()
}

/// Why an address cannot be listened on.
public struct NetworkError: Error, Sendable, CustomStringConvertible {
    public var description: String
    public init(_ description: String) { self.description = description }
}
