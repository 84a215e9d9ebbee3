/// A connection of raw bytes that its handler consumes: what connections of the server and of the simulator share, so
/// that the simulator tests what the server runs. Everything is called on the connection's loop.
public protocol HandledConnection: Connection, TurnConnection {
    /// Nil once the connection has ended.
    var handler: (any ConnectionHandler)? { get }
    var input: ConnectionInput { get set }
    /// Opened from here: what the other end answers is read also while it takes nothing, or both would wait for each
    /// other.
    var isOutgoing: Bool { get }
    /// Whether the network takes more output.
    var isWritable: Bool { get }
    /// Starts or stops taking bytes from the network.
    func setReading(_ isReading: Bool)
}

/// What a connection has received, and whether it receives more.
public struct ConnectionInput: Sendable {
    /// Bytes that the handler has not consumed.
    fileprivate var rest: [UInt8] = []
    public fileprivate(set) var isReading = true
    /// Whether the other end sends no more.
    public var hasEnded = false
    fileprivate var endIsDelivered = false

    public init() {}

    fileprivate mutating func takeRest() -> [UInt8] {
        defer { rest = [] }
        return rest
    }
}

extension HandledConnection {
    /// Presents received bytes to the handler.
    public func receive(_ bytes: UnsafeRawBufferPointer) {
        guard let handler else { return }
        if input.rest.isEmpty {
            let consumed = handler.receive(bytes)
            if consumed < bytes.count {
                input.rest.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[consumed...]))
            }
        } else {
            input.rest.append(contentsOf: bytes)
            presentRest(to: handler)
        }
        updateReading()
    }

    /// The handler may close the connection, but input is never passed to it re-entrantly.
    private func presentRest(to handler: any ConnectionHandler) {
        var rest = input.takeRest()
        if rest.isEmpty { return }
        rest.removeFirst(rest.withUnsafeBytes { handler.receive($0) })
        input.rest = rest
    }

    public func resumeInput() {
        guard let handler else { return }
        presentRest(to: handler)
        if input.hasEnded { endInput() }
        updateReading()
    }

    public func updateReading() {
        guard let handler else { return }
        let isReading = !handler.isPaused && (isOutgoing || isWritable) && !answers.isFull
        if isReading == input.isReading { return }
        input.isReading = isReading
        setReading(isReading)
    }

    /// Tells the handler, once and not while it is paused, that the other end sends no more.
    public func endInput() {
        input.hasEnded = true
        guard let handler, !handler.isPaused, !input.endIsDelivered else { return }
        input.endIsDelivered = true
        input.takeRest().withUnsafeBytes { handler.inputEnded($0) }
    }

    /// Call after writing, and when `isWritable` has changed.
    public func updateWritability() {
        if isWritable {
            handler?.outputSent()
            resumeInput()
        } else {
            updateReading()
        }
    }
}
