import Platform

/// One end of a connection: raw bytes to and from its handler, with the semantics of `LoopNetwork`.
///
/// SAFETY: `@unchecked Sendable`, see `SimulatedNetwork`.
final class SimulatedConnection: HandledConnection, @unchecked Sendable {
    let loopState: SimulatedLoop
    let turn: LoopTurn<SimulatedConnection>
    let incarnation: Incarnation
    let acknowledgement: (any Acknowledgement)?
    let peer: String
    let isOutgoing: Bool
    private let fabric: NetworkFabric
    private(set) var handler: (any ConnectionHandler)?
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
    var input = ConnectionInput()
    var answers = TurnAnswers<[UInt8]>()

    init(
        network: SimulatedNetwork, loop: Int, peer: String, acknowledgement: (any Acknowledgement)?, isAccepted: Bool
    ) {
        loopState = network.loopStates[loop]
        turn = network.turns[loop]
        fabric = network.fabric
        incarnation = network.incarnation
        self.peer = peer
        self.acknowledgement = acknowledgement
        isOutgoing = !isAccepted
    }

    var machine: Machine { incarnation.machine }
    var loop: Int { loopState.index }
    var isWritable: Bool { outgoing.underWay < NetworkFabric.highWater }

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
        while input.isReading, handler != nil, !received.isEmpty {
            let chunk = received.removeFirst()
            other?.outgoing.taken(chunk.count)
            chunk.withUnsafeBytes { receive($0) }
        }
        guard endIsReceived, input.isReading, received.isEmpty, handler != nil, !input.hasEnded else { return }
        // Only accepted connections may be half-closed.
        if isOutgoing {
            input.hasEnded = true
            close()
        } else {
            endInput()
        }
    }

    func setReading(_ isReading: Bool) {
        if isReading { loopState.execute { [self] in pump() } }
    }

    func writabilityChanged() {
        loopState.execute { [self] in updateWritability() }
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
        answers.dropHeld()
        told?.closed()
    }

    // MARK: Output

    func takeOutput(failure: String?) -> [UInt8] {
        var taken: [UInt8] = []
        handler?.takeOutput(failure: failure) { taken = [UInt8]($0) }
        return taken
    }

    func byteCount(of output: [UInt8]) -> Int { output.count }

    func write(_ output: [UInt8], isLast: Bool) {
        if isGone { return }
        if !output.isEmpty { outgoing.send(output) }
        if isLast { return close() }
        updateWritability()
    }

    func closeNow() { close() }
}
