import Platform

/// One end of a connection: raw bytes to and from its handler, with the semantics of `LoopNetwork`.
///
/// SAFETY: `@unchecked Sendable`, see `SimulatedNetwork`.
final class SimulatedConnection: Connection, @unchecked Sendable {
    let loopState: SimulatedLoop
    let incarnation: Incarnation
    let acknowledgement: (any Acknowledgement)?
    let peer: String
    /// Only accepted connections may be half-closed.
    private let isAccepted: Bool
    private let fabric: NetworkFabric
    private var handler: (any ConnectionHandler)?
    private(set) lazy var outgoing = SimulatedPipe(fabric: fabric, from: self)
    private(set) var other: SimulatedConnection?
    /// Closed, broken, or its process is dead.
    var isGone = false
    /// Broken: bytes in flight from this end are lost.
    private(set) var isBroken = false
    /// Its process is dead, so nothing answers that the connection is closed.
    var isSilent: Bool { isGone && !incarnation.isAlive }

    /// Chunks not yet passed to the handler.
    private var received: [[UInt8]] = []
    private var endIsReceived = false
    /// Input that the handler has not consumed.
    private var rest: [UInt8] = []
    private var isReady = false
    private var isReading = true
    private var isClosing = false
    private var inputHasEnded = false
    private var endIsDelivered = false
    private var held: [(ticket: UInt64, bytes: [UInt8], isSafe: Bool)] = []
    private var heldBytes = 0
    private var nextTicket: UInt64 = 0

    /// When this many bytes of answers are held, no more input is read from the client.
    static let heldLimitBytes = 1 << 20

    init(
        loop: SimulatedLoop, fabric: NetworkFabric, incarnation: Incarnation, peer: String, acknowledgement: (any Acknowledgement)?,
        isAccepted: Bool
    ) {
        loopState = loop
        self.fabric = fabric
        self.incarnation = incarnation
        self.peer = peer
        self.acknowledgement = acknowledgement
        self.isAccepted = isAccepted
    }

    var machine: Machine { incarnation.machine }
    var loop: Int { loopState.index }
    private var isWritable: Bool { outgoing.underWay < NetworkFabric.highWater }

    func begin(_ handler: any ConnectionHandler) {
        if isGone { return handler.closed() }
        self.handler = handler
        pump()
    }

    static func join(_ a: SimulatedConnection, _ b: SimulatedConnection) {
        a.other = b
        b.other = a
        a.outgoing.attach(b)
        b.outgoing.attach(a)
    }

    func onLoop(_ work: @escaping @Sendable () -> Void) { loopState.execute(work) }

    func markReady() {
        if isReady { return }
        isReady = true
        loopState.add(self)
    }

    func closeAfterOutput() {
        isClosing = true
        markReady()
    }

    // MARK: Input

    func arrived(_ bytes: [UInt8]) {
        loopState.execute { [self] in
            received.append(bytes)
            pump()
        }
    }

    func endArrived() {
        loopState.execute { [self] in
            endIsReceived = true
            pump()
        }
    }

    /// Passes received chunks to the handler while it accepts input.
    private func pump() {
        while isReading, let handler, !received.isEmpty {
            let chunk = received.removeFirst()
            other?.outgoing.taken(chunk.count)
            rest += chunk
            feedRest(handler)
            updateReading(handler)
        }
        guard endIsReceived, isReading, received.isEmpty, let handler, !inputHasEnded else { return }
        inputHasEnded = true
        if isAccepted { endInput(handler) } else { close() }
    }

    private func feedRest(_ handler: any ConnectionHandler) {
        if rest.isEmpty { return }
        let kept = rest
        rest = []
        let consumed = kept.withUnsafeBytes { handler.receive($0) }
        // The handler may have closed the connection, but input is never passed to it re-entrantly.
        rest = Array(kept[consumed...]) + rest
    }

    func resumeInput() {
        guard let handler else { return }
        feedRest(handler)
        if inputHasEnded { endInput(handler) }
        updateReading(handler)
    }

    private func updateReading(_ handler: any ConnectionHandler) {
        let wanted = !handler.isPaused && (!isAccepted || isWritable) && heldBytes < SimulatedConnection.heldLimitBytes
        if wanted == isReading { return }
        isReading = wanted
        if wanted { loopState.execute { [self] in pump() } }
    }

    private func endInput(_ handler: any ConnectionHandler) {
        if handler.isPaused || endIsDelivered { return }
        endIsDelivered = true
        let kept = rest
        rest = []
        kept.withUnsafeBytes { handler.inputEnded($0) }
    }

    func writabilityChanged() {
        loopState.execute { [self] in if handler != nil { resumeInput() } }
    }

    // MARK: End

    /// Closes both directions in an orderly way.
    func close() {
        if isGone { return }
        isGone = true
        outgoing.end()
        loopState.execute { [self] in end() }
    }

    /// Marks the connection as broken and tells its handler on its loop.
    func breakSoon() {
        if isBroken || !incarnation.isAlive { return }
        isBroken = true
        isGone = true
        loopState.execute { [self] in end() }
    }

    /// Breaks both ends, each after its own random delay.
    func breakBoth() {
        // Not connected yet: it never will be.
        guard let other else { return breakSoon() }
        let world = incarnation.world
        world.after(world.random.nanoseconds(1_000...2_000_000)) { [self] in breakSoon() }
        world.after(world.random.nanoseconds(1_000...2_000_000)) { other.breakSoon() }
    }

    /// Tells the handler, once, that the connection is closed.
    private func end() {
        fabric.forget(self)
        let told = handler
        handler = nil
        held = []
        told?.closed()
    }

    // MARK: Output

    private func takeOutput(failure: String?) -> [UInt8] {
        isReady = false
        var taken: [UInt8] = []
        handler?.takeOutput(failure: failure) { taken = [UInt8]($0) }
        return taken
    }

    func send(failure: String?) {
        let bytes = takeOutput(failure: failure)
        if held.isEmpty {
            write(bytes)
        } else {
            // Keep the order: earlier answers still wait for the disk.
            _ = hold(bytes, isSafe: true)
        }
    }

    private func write(_ bytes: [UInt8]) {
        if isGone { return }
        if !bytes.isEmpty { outgoing.send(bytes) }
        if isClosing && held.isEmpty && !isReady { return close() }
        if isWritable {
            handler?.outputSent()
            resumeInput()
        }
    }

    /// Takes the answers from the handler and holds them until the writes they acknowledge are on disk.
    /// - Returns: the ticket for `release`.
    func hold() -> UInt64 { hold(takeOutput(failure: nil), isSafe: false) }

    private func hold(_ bytes: [UInt8], isSafe: Bool) -> UInt64 {
        defer { nextTicket += 1 }
        held.append((nextTicket, bytes, isSafe))
        heldBytes += bytes.count
        if let handler { updateReading(handler) }
        return nextTicket
    }

    /// Sends the answers of a ticket and the safe ones queued behind them.
    func release(_ ticket: UInt64, failure: String?) {
        // Without a sync the client must not get an acknowledgement.
        if failure != nil { return close() }
        if let index = held.firstIndex(where: { $0.ticket == ticket }) { held[index].isSafe = true }
        while let first = held.first, first.isSafe {
            held.removeFirst()
            heldBytes -= first.bytes.count
            write(first.bytes)
        }
    }
}
