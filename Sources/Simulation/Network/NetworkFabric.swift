import Platform

/// The condition of a link in one direction.
struct LinkCondition {
    /// Nothing arrives until the link is unblocked.
    var isBlocked = false
    /// The factor by which latency is increased.
    var slowness: UInt64 = 1
}

/// The network between all machines: open ports, latencies, and blocked links.
///
/// A connection is two pipes of bytes. As with TCP, bytes arrive in order and complete, but possibly late. Bytes held
/// back by a blocked link arrive when it is unblocked, unless the connection was broken meanwhile.
///
/// SAFETY: `@unchecked Sendable` because it belongs to a world, which one thread runs.
final class NetworkFabric: @unchecked Sendable {
    /// A port that a process listens on.
    struct Port {
        let network: SimulatedNetwork
        let acknowledgement: (any Acknowledgement)?
        let makeHandler: @Sendable (any Connection) -> any ConnectionHandler
        var nextLoop = 0
    }

    private struct Link: Hashable {
        let from: Int
        let to: Int
    }

    let world: SimulatedWorld
    private var ports: [String: Port] = [:]
    private var machines: [String: Machine] = [:]
    private var conditions: [Link: LinkCondition] = [:]
    private var connections: [SimulatedConnection] = []
    /// Pipes with bytes held back by a blocked link. Includes pipes of connections that one end has closed since: the
    /// other end learns of it when the link is unblocked.
    private var stalledPipes: [SimulatedPipe] = []
    private var nextEphemeralPort = 32_768
    private var nextFreePort = 20_000
    /// The probability that a chunk is delayed by up to 3 seconds.
    var stallChance = 0.0
    /// The probability that a new connection is refused or never answered.
    var refusalChance = 0.0
    private(set) var connectionCount = 0
    private(set) var breakCount = 0

    /// Bytes in flight: at `highWater` the sender stops, at `lowWater` it may continue.
    static let highWater = 1 << 20
    static let lowWater = 256 << 10
    static let connectTimeout = 2 * Nanoseconds.second
    /// The most bytes that arrive at once.
    static let largestChunk = 64 << 10

    init(world: SimulatedWorld) { self.world = world }

    func add(_ machine: Machine) { machines[machine.address] = machine }

    // MARK: Conditions

    func condition(_ from: Machine, _ to: Machine) -> LinkCondition {
        conditions[Link(from: from.index, to: to.index)] ?? LinkCondition()
    }

    func set(_ from: Machine, _ to: Machine, _ change: (inout LinkCondition) -> Void) {
        var condition = condition(from, to)
        let wasBlocked = condition.isBlocked
        change(&condition)
        conditions[Link(from: from.index, to: to.index)] = condition
        if wasBlocked && !condition.isBlocked {
            let released = stalledPipes.filter { $0.isBetween(from, to) }
            stalledPipes.removeAll { $0.isBetween(from, to) }
            for pipe in released { pipe.retransmit() }
        }
    }

    /// Restores all links.
    func heal() {
        stallChance = 0
        refusalChance = 0
        for from in machines.values.sorted(by: { $0.index < $1.index }) {
            for to in machines.values.sorted(by: { $0.index < $1.index }) { set(from, to) { $0 = LinkCondition() } }
        }
    }

    /// Returns a random latency for one chunk.
    func latency(_ from: Machine, _ to: Machine) -> UInt64 {
        if from === to { return world.random.nanoseconds(5_000...50_000) }
        var latency = world.random.nanoseconds(100_000...1_000_000) * condition(from, to).slowness
        if world.random.happens(stallChance) {
            latency += world.random.nanoseconds(10 * Nanoseconds.millisecond...3 * Nanoseconds.second)
        }
        return latency
    }

    // MARK: Ports

    func listen(_ host: String, _ port: Int, _ entry: Port) throws(NetworkError) -> Int {
        var number = port
        if port == 0 {
            nextFreePort += 1
            number = nextFreePort
        }
        let name = "\(host):\(number)"
        guard ports[name] == nil else {
            throw NetworkError(
                "cannot listen on \(name): address in use; is another server running there? Choose another port or address"
            )
        }
        ports[name] = entry
        return number
    }

    func closePort(_ host: String, _ port: Int, of network: SimulatedNetwork) {
        let name = "\(host):\(port)"
        if ports[name]?.network === network { ports[name] = nil }
    }

    /// Closes all ports of a process.
    func closePorts(of network: SimulatedNetwork) { ports = ports.filter { $0.value.network !== network } }

    // MARK: Connections

    func connect(from network: SimulatedNetwork, loop: Int, host: String, port: Int) -> SimulatedConnection {
        connectionCount += 1
        nextEphemeralPort = nextEphemeralPort >= 60_999 ? 32_768 : nextEphemeralPort + 1
        let connection = SimulatedConnection(
            network: network, loop: loop, peer: "\(host):\(port)", acknowledgement: nil, isAccepted: false)
        let origin = "\(network.incarnation.machine.address):\(nextEphemeralPort)"
        connections.append(connection)
        let name = "\(host):\(port)"
        guard let target = machines[host] else {
            world.after(world.random.nanoseconds(50_000...500_000)) { connection.breakSoon() }
            return connection
        }
        world.after(latency(network.incarnation.machine, target)) { [self] in
            if connection.isGone { return }
            let isDeaf =
                condition(network.incarnation.machine, target).isBlocked
                || condition(target, network.incarnation.machine).isBlocked
                || target.pausedUntil > world.now || world.random.happens(refusalChance / 2)
            if isDeaf {
                world.after(NetworkFabric.connectTimeout) { connection.breakSoon() }
                return
            }
            guard var entry = ports[name], entry.network.incarnation.isAlive, !world.random.happens(refusalChance / 2)
            else {
                connection.breakSoon()
                return
            }
            let chosen = entry.nextLoop % entry.network.loops
            entry.nextLoop += 1
            ports[name] = entry
            let accepted = SimulatedConnection(
                network: entry.network, loop: chosen, peer: origin, acknowledgement: entry.acknowledgement,
                isAccepted: true)
            connections.append(accepted)
            let make = entry.makeHandler
            accepted.loopState.execute { accepted.begin(make(accepted)) }
            SimulatedConnection.join(connection, accepted)
        }
        return connection
    }

    /// Registers a pipe to continue when its link is unblocked.
    func stall(_ pipe: SimulatedPipe) { stalledPipes.append(pipe) }

    func forget(_ connection: SimulatedConnection) { connections.removeAll { $0 === connection } }

    /// Breaks each connection for which `choose` returns true, at both ends.
    func breakConnections(_ choose: (SimulatedConnection) -> Bool) {
        for connection in connections where !connection.isGone && choose(connection) {
            breakCount += 1
            connection.breakBoth()
        }
    }

    /// Handles the end of a process: its ports close at once, and its peers notice after a latency, or after 1 to 20
    /// seconds if the machine lost power.
    func processEnded(_ incarnation: Incarnation, losesPower: Bool) {
        ports = ports.filter { $0.value.network.incarnation !== incarnation }
        for connection in connections where connection.incarnation === incarnation {
            connection.isGone = true
            guard let other = connection.other else { continue }
            let delay =
                losesPower
                ? world.random.nanoseconds(Nanoseconds.second...20 * Nanoseconds.second)
                : latency(connection.machine, other.machine)
            world.after(delay) { other.breakSoon() }
        }
        connections.removeAll { $0.incarnation === incarnation }
    }
}
