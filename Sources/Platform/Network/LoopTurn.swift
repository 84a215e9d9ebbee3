/// A connection as the end of its loop's turn sees it: it has answers, and it sends them. Everything is called on its
/// loop.
///
/// A connection conforms to both `Connection` and this protocol; `markReady` and `closeAfterOutput` come from here.
public protocol TurnConnection: AnyObject, Sendable {
    /// Bytes to send.
    associatedtype Output: Sendable

    /// What makes its answers safe; nil for a connection whose output acknowledges nothing.
    var acknowledgement: (any Acknowledgement)? { get }
    /// The turn of its loop.
    var turn: LoopTurn<Self> { get }
    /// Which of its answers are ready, and which wait.
    var answers: TurnAnswers<Output> { get set }

    /// Takes the answers that are ready out of the handler.
    /// - Parameter failure: why no write of this turn may be acknowledged.
    func takeOutput(failure: String?) -> Output
    func byteCount(of output: Output) -> Int
    /// Sends `output`, which may be empty, then accepts input again if it may.
    /// - Parameter isLast: whether to close the connection once everything has left.
    func write(_ output: Output, isLast: Bool)
    /// Stops or resumes reading after the number of held bytes has grown.
    func updateReading()
    /// Closes the connection without the answers that are held.
    func closeNow()
}

/// The answers of one connection between its handler and the network.
///
/// **Invariants**: the tickets of `held` ascend; outside `release` the first held answers are not safe.
public struct TurnAnswers<Output: Sendable>: Sendable {
    private struct Held: Sendable {
        let ticket: UInt64
        let output: Output
        let byteCount: Int
        var isSafe: Bool
    }

    /// Whether the connection is in the list of its loop's turn.
    fileprivate var isReady = false
    /// Whether to close once all answers have left.
    fileprivate var isClosing = false
    /// Answers that wait for the disk, and the safe ones queued behind them, in order.
    private var held: [Held] = []
    private var heldBytes = 0
    private var nextTicket: UInt64 = 0

    public init() {}

    /// Whether so many bytes are held that nothing more should be read from the client.
    public var isFull: Bool { heldBytes >= TurnLimits.heldBytes }

    /// Whether what is written now is the last output of the connection.
    fileprivate var isLast: Bool { isClosing && held.isEmpty && !isReady }
    fileprivate var holdsNothing: Bool { held.isEmpty }

    fileprivate mutating func hold(_ output: Output, byteCount: Int, isSafe: Bool) -> UInt64 {
        defer { nextTicket += 1 }
        held.append(Held(ticket: nextTicket, output: output, byteCount: byteCount, isSafe: isSafe))
        heldBytes += byteCount
        return nextTicket
    }

    fileprivate mutating func markSafe(_ ticket: UInt64) {
        if let index = held.firstIndex(where: { $0.ticket == ticket }) { held[index].isSafe = true }
    }

    /// Removes the first held answers and returns them if they are safe.
    fileprivate mutating func takeSafe() -> Output? {
        guard let first = held.first, first.isSafe else { return nil }
        held.removeFirst()
        heldBytes -= first.byteCount
        return first.output
    }

    /// Drops the held answers: the connection has ended.
    public mutating func dropHeld() { held = [] }
}

/// The limits of the end of a turn.
public enum TurnLimits {
    /// The bytes of held answers at which nothing more is read from the client.
    public static let heldBytes = 1 << 20
}

extension TurnConnection {
    /// Has the answers taken and sent at the end of this turn.
    public func markReady() {
        if answers.isReady { return }
        answers.isReady = true
        turn.add(self)
    }

    public func closeAfterOutput() {
        answers.isClosing = true
        markReady()
    }

    private func take(failure: String?) -> Output {
        answers.isReady = false
        return takeOutput(failure: failure)
    }

    private func hold(_ output: Output, isSafe: Bool) -> UInt64 {
        let ticket = answers.hold(output, byteCount: byteCount(of: output), isSafe: isSafe)
        updateReading()
        return ticket
    }

    fileprivate func send(failure: String?) {
        let output = take(failure: failure)
        if answers.holdsNothing {
            write(output, isLast: answers.isLast)
        } else {
            // Keep the order: earlier answers still wait for the disk.
            _ = hold(output, isSafe: true)
        }
    }

    /// Takes the answers and holds them until the writes they acknowledge are on the disk.
    /// - Returns: the ticket for `release`.
    fileprivate func hold() -> UInt64 { hold(take(failure: nil), isSafe: false) }

    /// Sends the answers of a ticket and the safe ones queued behind them.
    fileprivate func release(_ ticket: UInt64, failure: String?) {
        // Without the sync the client must not read the answers as success.
        if failure != nil { return closeNow() }
        answers.markSafe(ticket)
        while let output = answers.takeSafe() { write(output, isLast: answers.isLast) }
    }
}

/// Learns when the writes of a turn are safe to acknowledge.
public protocol SafetyWaiter: AnyObject, Sendable {
    /// Called on the loop, once for each `whenSafe`.
    /// - Parameters:
    ///   - token: as passed to `whenSafe`.
    ///   - failure: why the writes may not be acknowledged.
    func writesAreSafe(_ token: UInt64, failure: String?)
}

private struct SafetyTicket: Sendable {
    let waiter: any SafetyWaiter
    let token: UInt64
}

/// The end of a loop's turn: the commit log is flushed once for everything the turn did, then the answers leave.
///
/// A turn is the events that a loop handles one after the other before it runs what was left for later.
///
/// 1. Connections whose output acknowledges nothing send it.
/// 2. The commit log is flushed. If that fails, no write of the turn is acknowledged. A turn without writes has nothing
///    to lose, so that reads go on while the disk takes no writes; but not the turn in which flushes began to fail: it
///    may have read what was not written.
/// 3. Where acknowledgements need a sync, the answers are taken and held, and a sync begins. Later answers of the same
///    connection queue behind the held ones. Once the sync is done, they leave in order; if it failed, the connections
///    are closed.
/// 4. Otherwise the answers leave at once.
///
/// The network of the server and that of the simulator both use this class, so that the simulator tests what the server
/// runs.
///
/// SAFETY: `@unchecked Sendable` because everything is touched on the loop only.
public final class LoopTurn<Member: TurnConnection>: @unchecked Sendable {
    private let execute: @Sendable (@escaping @Sendable () -> Void) -> Void
    private var ready: [Member] = []
    /// What waits until the writes of the turn are safe.
    private var waiting: [SafetyTicket] = []
    /// An empty array whose memory is used for the next `waiting`.
    private var spare: [SafetyTicket] = []
    private var waitingAcknowledgement: (any Acknowledgement)?
    private var isScheduled = false
    /// `Acknowledgement.mark` and `failures` at the end of the last turn.
    private var lastMark: UInt64 = 0
    private var lastFailures: UInt64 = 0

    /// - Parameter execute: runs work on the loop after the events it handles now; called from any thread.
    public init(execute: @escaping @Sendable (@escaping @Sendable () -> Void) -> Void) { self.execute = execute }

    fileprivate func add(_ connection: Member) {
        ready.append(connection)
        schedule()
    }

    /// Tells `waiter` when the writes of this turn are safe, or why they are not.
    /// - Parameter token: what to call the waiter with.
    public func whenSafe(_ acknowledgement: any Acknowledgement, _ waiter: any SafetyWaiter, token: UInt64) {
        waiting.append(SafetyTicket(waiter: waiter, token: token))
        waitingAcknowledgement = acknowledgement
        schedule()
    }

    private func schedule() {
        if isScheduled { return }
        isScheduled = true
        execute { self.end() }
    }

    private func end() {
        isScheduled = false
        var connections: [Member] = []
        swap(&connections, &ready)
        var tickets: [SafetyTicket] = []
        swap(&tickets, &spare)
        swap(&tickets, &waiting)
        for connection in connections where connection.acknowledgement == nil { connection.send(failure: nil) }
        connections.removeAll { $0.acknowledgement == nil }
        guard let acknowledgement = waitingAcknowledgement ?? connections.first?.acknowledgement else {
            swap(&tickets, &spare)
            return
        }
        waitingAcknowledgement = nil
        let mark = acknowledgement.mark
        var failure = acknowledgement.flush()
        let failures = acknowledgement.failures
        if mark == lastMark && failures == lastFailures { failure = nil }
        lastMark = mark
        lastFailures = failures
        if failure == nil && acknowledgement.needsSync {
            let held = connections.map { ($0, $0.hold()) }
            let waited = tickets
            acknowledgement.sync { failure in
                self.execute {
                    for (connection, ticket) in held { connection.release(ticket, failure: failure) }
                    for ticket in waited { ticket.waiter.writesAreSafe(ticket.token, failure: failure) }
                }
            }
            return
        }
        for connection in connections { connection.send(failure: failure) }
        for ticket in tickets { ticket.waiter.writesAreSafe(ticket.token, failure: failure) }
        tickets.removeAll(keepingCapacity: true)
        swap(&tickets, &spare)
    }
}
