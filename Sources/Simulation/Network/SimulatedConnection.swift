import Platform

/// One end of a connection: raw bytes to and from its handler, as `LoopNetwork` has them.
///
/// SAFETY: `@unchecked Sendable` as `SimulatedNetwork`.
final class SimulatedConnection: Connection, @unchecked Sendable {
    let loopState: SimulatedLoop
    let incarnation: Incarnation
    let acknowledgement: (any Acknowledgement)?
    let peer: String
    /// Accepted connections may be closed in one direction.
    private let isAccepted: Bool
    private let fabric: NetworkFabric
    private var handler: (any ConnectionHandler)?
    private(set) lazy var outgoing = SimulatedPipe(fabric: fabric, from: self)
    private(set) var other: SimulatedConnection?
    /// Closed, broken, or of a dead process.
    var isGone = false
    /// Broken: what is under way from here is lost.
    private(set) var isBroken = false
    /// Its machine lost its power: nobody answers that it is gone.
    var isSilent: Bool { isGone && !incarnation.isAlive }

    /// Chunks not presented to the handler yet.
    private var received: [[UInt8]] = []
    private var endIsReceived = false
    /// Input the handler has not consumed.
    private var rest: [UInt8] = []
    private var isReady = false
    private var isReading = true
    private var isClosing = false
    private var inputHasEnded = false
    private var endIsDelivered = false
    private var held: [(ticket: UInt64, bytes: [UInt8], isSafe: Bool)] = []
    private var heldBytes = 0
    private var nextTicket: UInt64 = 0

    /// Answers held beyond which nothing more is read from the client.
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

    /// Presents what arrived, while the handler wants it.
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
        // What it did may have closed the connection, and never presents more by itself.
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

    /// Closes both directions, in order for the other end.
    func close() {
        if isGone { return }
        isGone = true
        outgoing.end()
        loopState.execute { [self] in end() }
    }

    /// The connection is found to be broken, on its loop.
    func breakSoon() {
        if isBroken || !incarnation.isAlive { return }
        isBroken = true
        isGone = true
        loopState.execute { [self] in end() }
    }

    /// Breaks it at both ends, each of which hears of it at its time.
    func breakBoth() {
        // Before there is another end, so that there never is one.
        guard let other else { return breakSoon() }
        let world = incarnation.world
        world.after(world.random.nanoseconds(1_000...2_000_000)) { [self] in breakSoon() }
        world.after(world.random.nanoseconds(1_000...2_000_000)) { other.breakSoon() }
    }

    /// Tells the handler, once, that the connection is gone.
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
            // Not before the answers that wait for the disk: they came first.
            _ = hold(bytes, isSafe: true)
        }
    }

    private func write(_ bytes: [UInt8]) {
        if isGone { return }
        if !bytes.isEmpty { outgoing.send(bytes) }
        if isClosing && held.isEmpty && !isReady { return close() }
        if isWritable { resumeInput() }
    }

    /// Takes the answers out and keeps them until the disk has what they acknowledge.
    /// - Returns: what `release` wants.
    func hold() -> UInt64 { hold(takeOutput(failure: nil), isSafe: false) }

    private func hold(_ bytes: [UInt8], isSafe: Bool) -> UInt64 {
        defer { nextTicket += 1 }
        held.append((nextTicket, bytes, isSafe))
        heldBytes += bytes.count
        if let handler { updateReading(handler) }
        return nextTicket
    }

    /// Sends answers the disk has, and those that waited behind them.
    func release(_ ticket: UInt64, failure: String?) {
        // Not acknowledged: the client must not read this as success.
        if failure != nil { return close() }
        if let index = held.firstIndex(where: { $0.ticket == ticket }) { held[index].isSafe = true }
        while let first = held.first, first.isSafe {
            held.removeFirst()
            heldBytes -= first.bytes.count
            write(first.bytes)
        }
    }
}
