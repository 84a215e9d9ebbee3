import Platform

/// The network of one process: connections over the simulated links, with the semantics of `LoopNetwork`.
///
/// SAFETY: `@unchecked Sendable` because it belongs to a world, which one thread runs.
public final class SimulatedNetwork: Network, @unchecked Sendable {
    let fabric: NetworkFabric
    let incarnation: Incarnation
    let loopStates: [SimulatedLoop]
    /// The end of the turns of each loop.
    let turns: [LoopTurn<SimulatedConnection>]

    public var loops: Int { loopStates.count }

    /// - Parameter onFibers: whether code on the loops runs on fibers, which a crash may abandon midway, as for a
    ///   node's code.
    init(fabric: NetworkFabric, incarnation: Incarnation, loops: Int, onThreads: Bool = true) {
        self.fabric = fabric
        self.incarnation = incarnation
        loopStates = (0..<loops).map { SimulatedLoop(index: $0, incarnation: incarnation, onThreads: onThreads) }
        turns = loopStates.map { loop in LoopTurn { loop.execute($0) } }
    }

    private struct OpenPort: Listener {
        let network: SimulatedNetwork
        let host: String
        let port: Int
        func close() { network.fabric.closePort(host, port, of: network) }
    }

    public func listen(
        host: String, port: Int, acknowledgement: (any Acknowledgement)?,
        _ makeHandler: @escaping @Sendable (any Connection) -> any ConnectionHandler
    ) throws(NetworkError) -> any Listener {
        let number = try fabric.listen(
            host, port, NetworkFabric.Port(network: self, acknowledgement: acknowledgement, makeHandler: makeHandler))
        return OpenPort(network: self, host: host, port: number)
    }

    public func connect(
        host: String, port: Int, loop: Int, _ makeHandler: @escaping @Sendable (any Connection) -> any ConnectionHandler
    ) {
        let connection = fabric.connect(from: self, loop: loop, host: host, port: port)
        connection.begin(makeHandler(connection))
    }

    /// Now and then, so that what a long scan does happens between other things as it would.
    public func yieldsNow() -> Bool { incarnation.world.random.happens(0.05) }

    public var comparesAccessesOfFibers: Bool { true }

    public func onLoop(_ loop: Int, _ work: @escaping @Sendable () -> Void) { loopStates[loop].execute(work) }

    public func schedule(loop: Int, nanoseconds: UInt64, _ work: @escaping @Sendable () -> Void) {
        let state = loopStates[loop]
        incarnation.world.add(after: nanoseconds, on: incarnation, .call { state.execute(work) })
    }

    public func whenSafe(
        loop: Int, _ acknowledgement: any Acknowledgement, _ waiter: any SafetyWaiter, token: UInt64
    ) {
        turns[loop].whenSafe(acknowledgement, waiter, token: token)
    }

    public func stop() {
        fabric.breakConnections { $0.incarnation === incarnation }
        fabric.closePorts(of: self)
    }
}
