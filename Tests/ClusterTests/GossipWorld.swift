import Messages
import Primitives

@testable import Cluster

/// Gossipers on a virtual clock. Messages are encoded, delayed and may be lost.
struct GossipWorld {
    private struct Flight {
        let at: Int64
        let sequence: Int
        let from: Endpoint
        let to: Endpoint
        let bytes: [UInt8]
    }

    /// Microseconds since 1970 at monotonic time 0.
    static let epoch: Int64 = 1_700_000_000_000_000
    static let second: Int64 = 1_000_000

    private(set) var now: Int64 = 0
    private(set) var nodes: [Endpoint: Gossiper] = [:]
    private(set) var order: [Endpoint] = []
    private var nextTick: [Endpoint: Int64] = [:]
    private var flights: [Flight] = []
    private var sequence = 0
    var random: SeededRandom
    /// The probability that a message is lost.
    var loss = 0.0
    /// The partition of the network: nodes of different groups do not reach each other; 0 for nodes without an entry.
    var groups: [Endpoint: Int] = [:]
    /// Nodes that are suspended: they neither tick nor receive, and messages to them wait.
    var paused: Set<Endpoint> = []
    private(set) var log: [(at: Int64, node: Endpoint, event: GossipEvent)] = []
    private(set) var sentBytes = 0

    var wall: Int64 { GossipWorld.epoch + now }

    init(seed: UInt64) { random = SeededRandom(seed: seed) }

    static func endpoint(_ number: Int) -> Endpoint {
        Endpoint(address: "10.0.\(number / 250).\(number % 250 + 1)", port: 7000)
    }

    mutating func start(
        _ endpoint: Endpoint, hostID: UUID? = nil, seeds: [Endpoint], cluster: String = "test",
        generation: Int64? = nil,
        status: GossipStatus = .normal
    ) {
        let id = hostID ?? UUID(high: 7, low: random.next())
        var gossiper = Gossiper(
            configuration: GossipConfiguration(clusterName: cluster, endpoint: endpoint, hostID: id, seeds: seeds),
            generation: generation ?? wall / 1_000_000, seed: random.next())
        gossiper.setLocal(.dataCenter, "dc1")
        gossiper.setLocal(.rack, "r1")
        gossiper.setLocal(.load, "\(random.next())")
        gossiper.setLocal(status: status)
        nodes[endpoint] = gossiper
        if !order.contains(endpoint) { order = (order + [endpoint]).sorted() }
        nextTick[endpoint] = now + Int64(random.below(1_000_000))
    }

    mutating func stop(_ endpoint: Endpoint) {
        nodes[endpoint] = nil
        order.removeAll { $0 == endpoint }
        nextTick[endpoint] = nil
        flights.removeAll { $0.to == endpoint }
    }

    /// Runs an action on a node, such as a shutdown, and its effects.
    mutating func act(
        _ endpoint: Endpoint, _ body: (inout Gossiper, _ now: Int64, _ wall: Int64) throws -> [GossipEffect]
    ) rethrows {
        let effects = try body(&nodes[endpoint]!, now, wall)
        carryOut(effects, of: endpoint)
    }

    mutating func run(seconds: Double) {
        let end = now + Int64(seconds * 1_000_000)
        while true {
            let tick = order.filter { !paused.contains($0) }.min { (nextTick[$0]!, $0) < (nextTick[$1]!, $1) }
            let flight = flights.indices.first { !paused.contains(flights[$0].to) }
            let tickAt = tick.map { nextTick[$0]! } ?? Int64.max
            let flightAt = flight.map { flights[$0].at } ?? Int64.max
            guard min(tickAt, flightAt) <= end else { break }
            now = max(now, min(tickAt, flightAt))
            if flightAt <= tickAt, let flight {
                deliver(flights.remove(at: flight))
            } else if let tick {
                nextTick[tick] = now + GossipConfiguration.interval
                carryOut(nodes[tick]!.tick(now: now, wall: wall), of: tick)
            }
        }
        now = end
        for endpoint in order { nodes[endpoint]!.checkInvariants() }
    }

    private mutating func deliver(_ flight: Flight) {
        guard nodes[flight.to] != nil, groups[flight.from] == groups[flight.to] else { return }
        guard let message = try? GossipMessage(decoding: flight.bytes) else {
            preconditionFailure("a gossiper sent what nobody can read")
        }
        carryOut(nodes[flight.to]!.receive(message, from: flight.from, now: now, wall: wall), of: flight.to)
    }

    private mutating func carryOut(_ effects: [GossipEffect], of endpoint: Endpoint) {
        for effect in effects {
            switch effect {
            case .event(let event): log.append((now, endpoint, event))
            case .send(let message, let target):
                var writer = ByteWriter()
                message.encode(to: &writer)
                sentBytes += writer.count
                if random.chance(loss) { continue }
                sequence += 1
                let flight = Flight(
                    at: now + 500 + Int64(random.below(50_000)), sequence: sequence, from: endpoint, to: target,
                    bytes: writer.toArray())
                let place = flights.firstIndex { ($0.at, $0.sequence) > (flight.at, flight.sequence) } ?? flights.count
                flights.insert(flight, at: place)
            }
        }
    }

    /// Whether every node considers all others up and has their latest values, apart from heartbeats.
    var converged: Bool {
        order.allSatisfy { observer in
            nodes[observer]!.liveEndpoints == order.filter { $0 != observer }
                && order.allSatisfy { nodes[observer]!.state(of: $0)?.values == nodes[$0]!.local.values }
        }
    }

    func events(of node: Endpoint? = nil, since: Int64 = 0) -> [GossipEvent] {
        log.filter { $0.at >= since && (node == nil || $0.node == node) }.map(\.event)
    }

    /// Returns all events as text.
    var transcript: String { log.map { "\($0.at) \($0.node) \($0.event)" }.joined(separator: "\n") }
}
