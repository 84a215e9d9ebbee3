import Messages
import Primitives

/// Spreads what each node says of itself to all, and finds out who is alive. A state machine: it is ticked once a second and given
/// messages, and answers with what to send and what it found out.
///
/// 1. A tick raises the heart beat and sends a `syn`, the digests of everything known, to a random live node; perhaps to one that does
///    not answer, with the probability dead / (live + 1); and to a seed when none was among these, with seeds / (live + dead).
/// 2. Who gets a `syn` sends what it knows better and asks for what it knows less of; who gets an `ack` sends what was asked for.
/// 3. News of a node: of a greater generation replaces what was known, of the same adds what is newer, of a lower is refused.
/// 4. A heart beat that is news feeds the failure detector, and the node is up. A node first heard of is down until its heart beat
///    moves or it sends a message itself, because others may remember the dead. Silence that the detector convicts makes it down.
/// 5. A node that has left is kept, so that all hear of it, until the time it named; then it is forgotten, and for `quarantine` not
///    learned anew from those who forget it later.
///
/// Sources: van Renesse et al., "A Gossip-Style Failure Detection Service" (1998) and "Efficient Reconciliation and Flow Control for
/// Anti-Entropy Protocols" (2008); the behaviour of Cassandra's gossip as it is documented.
///
/// **Invariants**: `order` holds the keys of `peers`, ascending; `endpointOf` maps each peer's host id to it. Dictionaries are looked
/// up, never iterated, so that equal seeds and inputs give equal effects to the byte.
public struct Gossiper: Sendable {
    public let configuration: GossipConfiguration
    /// What this node says of itself.
    public internal(set) var local: GossipState
    var peers: [Endpoint: GossipPeer] = [:]
    var order: [Endpoint] = []
    var endpointOf: [UUID: Endpoint] = [:]
    /// Until when an endpoint is not listened to, in monotonic microseconds.
    var quarantined: [Endpoint: Int64] = [:]
    var quarantineOrder: [Endpoint] = []
    var detector: PhiAccrualDetector
    var random: SeededRandom
    var effects: [GossipEffect] = []
    /// The greatest version given in this generation.
    private var version: Int64 = 0

    /// - Parameters:
    ///   - generation: greater than any this node ever used; seconds since 1970 by convention. The caller persists it first.
    public init(configuration: GossipConfiguration, generation: Int64, seed: UInt64) {
        self.configuration = configuration
        local = GossipState(heartBeat: HeartBeat(generation: generation, version: 0))
        detector = PhiAccrualDetector(configuration: configuration.failure)
        random = SeededRandom(seed: seed)
        setLocal(.hostID, configuration.hostID.description)
    }

    // MARK: This node

    /// Says something of this node. What is set later is told later, so the status comes last.
    public mutating func setLocal(_ key: GossipKey, _ bytes: [UInt8]) {
        precondition(bytes.count <= GossipLimits.valueBytes, "\(bytes.count) bytes of \(key)")
        local.set(GossipValue(key: key, version: nextVersion(), bytes: bytes))
    }

    public mutating func setLocal(_ key: GossipKey, _ text: String) { setLocal(key, Array(text.utf8)) }

    public mutating func setLocal(status: GossipStatus) { setLocal(.status, status.description) }

    /// Takes a greater generation, after `GossipEvent.superseded`; the caller has persisted it.
    public mutating func raiseGeneration(to generation: Int64) {
        guard generation > local.heartBeat.generation else { return }
        local.heartBeat.generation = generation
    }

    mutating func nextVersion() -> Int64 {
        version += 1
        return version
    }

    /// Tells every live node at once what this node says of itself, instead of waiting for the next rounds.
    public mutating func announce() -> [GossipEffect] {
        local.heartBeat.version = nextVersion()
        let news = GossipMessage.ack2(states: [GossipEntry(endpoint: configuration.endpoint, state: local)])
        for endpoint in liveEndpoints { effects.append(.send(news, to: endpoint)) }
        return drain()
    }

    /// Says good-bye, so that the others need not suspect it: for a stop in good order.
    public mutating func shutdown() -> [GossipEffect] {
        setLocal(status: .shutdown)
        return announce()
    }

    mutating func drain() -> [GossipEffect] {
        defer { effects = [] }
        return effects
    }

    // MARK: The others

    /// All other nodes known, ascending.
    public var endpoints: [Endpoint] { order }
    public var liveEndpoints: [Endpoint] { order.filter { peers[$0]?.isAlive ?? false } }
    /// Nodes that are down and have not left.
    public var unreachableEndpoints: [Endpoint] {
        order.filter { endpoint in peers[endpoint].map { !$0.isAlive && !$0.isGone } ?? false }
    }

    /// Whether the node is up; this node always is.
    public func isAlive(_ endpoint: Endpoint) -> Bool { endpoint == configuration.endpoint || peers[endpoint]?.isAlive ?? false }

    /// What is known of a node, this one included.
    public func state(of endpoint: Endpoint) -> GossipState? {
        endpoint == configuration.endpoint ? local : peers[endpoint]?.state
    }

    /// Where the node with this host id is reached.
    public func endpoint(of hostID: UUID) -> Endpoint? {
        hostID == configuration.hostID ? configuration.endpoint : endpointOf[hostID]
    }

    /// What the failure detector thinks of a node, and why.
    public func explain(_ endpoint: Endpoint, now: Int64) -> FailureExplanation? { detector.explain(endpoint, now: now) }

    public func isQuarantined(_ endpoint: Endpoint) -> Bool { quarantined[endpoint] != nil }

    /// The nodes of the ring as they gossip themselves, this one included, by endpoint. One that does not yet say who it is is left out.
    public var ringNodes: [RingNode] {
        (order + [configuration.endpoint]).sorted().compactMap { endpoint in
            state(of: endpoint).flatMap { RingNode(endpoint: endpoint, gossip: $0) }
        }
    }

    /// Costly; for tests.
    public func checkInvariants() {
        precondition(order == peers.keys.sorted(), "order \(order)")
        precondition(quarantineOrder == quarantined.keys.sorted(), "quarantine \(quarantineOrder)")
        for endpoint in order {
            if let id = peers[endpoint]?.state.hostID { precondition(endpointOf[id] == endpoint, "\(id) at \(endpoint)") }
        }
        precondition(peers[configuration.endpoint] == nil, "this node is its own peer")
    }
}
