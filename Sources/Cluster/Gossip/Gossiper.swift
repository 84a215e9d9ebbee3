import Messages
import Primitives

/// Spreads each node's own state to all nodes and finds out which nodes are alive.
///
/// A state machine: it is ticked once a second and given messages, and returns what to send and what it found out.
///
/// 1. A tick raises the heartbeat and sends a `syn`, the digests of all known nodes, to a random live node and, with
///    probability dead / (live + 1), to a random unreachable node. If none of these is a seed, or there are fewer live
///    nodes than seeds, it also goes to a random seed with probability seeds / (live + dead).
/// 2. The receiver of a `syn` sends the states it knows better and requests those it knows less of (`ack`). The
///    receiver of an `ack` sends what was requested (`ack2`).
/// 3. A state of a greater generation replaces the known one, one of the same generation adds its newer values, one of
///    a lower generation is refused.
/// 4. A new heartbeat feeds the failure detector and marks the node up. A node first heard of is down until its
///    heartbeat advances or it sends a message itself, because other nodes may still remember dead ones. The detector
///    convicts a node that stays silent; it is then down.
/// 5. The state of a departed node is kept until its expiry, so that every node learns of it. Then it is forgotten and
///    ignored for `quarantine`, so that nodes that forget it later do not reintroduce it.
///
/// Sources: van Renesse et al., "A Gossip-Style Failure Detection Service" (1998) and "Efficient Reconciliation and
/// Flow Control for Anti-Entropy Protocols" (2008); the documented behaviour of Cassandra's gossip.
///
/// **Invariants**: `order` holds the keys of `peers`, ascending; `endpointOf` maps each peer's host id to its endpoint.
/// Dictionaries are looked up, never iterated, so that equal seeds and inputs give byte-identical effects.
public struct Gossiper: Sendable {
    public let configuration: GossipConfiguration
    /// This node's own state.
    public internal(set) var local: GossipState
    var peers: [Endpoint: GossipPeer] = [:]
    var order: [Endpoint] = []
    var endpointOf: [UUID: Endpoint] = [:]
    /// Until when to ignore an endpoint, in monotonic microseconds.
    var quarantined: [Endpoint: Int64] = [:]
    var quarantineOrder: [Endpoint] = []
    var detector: PhiAccrualDetector
    var random: SeededRandom
    var effects: [GossipEffect] = []
    /// The last version number used in this generation.
    private var version: Int64 = 0

    /// - Parameters:
    ///   - generation: greater than any this node ever used; seconds since 1970 by convention. The caller must have
    ///     persisted it.
    public init(configuration: GossipConfiguration, generation: Int64, seed: UInt64) {
        self.configuration = configuration
        local = GossipState(heartBeat: HeartBeat(generation: generation, version: 0))
        detector = PhiAccrualDetector(configuration: configuration.failure)
        random = SeededRandom(seed: seed)
        setLocal(.hostID, configuration.hostID.description)
    }

    // MARK: This node

    /// Sets a value of this node's own state. Values spread in the order in which they are set, so set the status last.
    public mutating func setLocal(_ key: GossipKey, _ bytes: [UInt8]) {
        precondition(bytes.count <= GossipLimits.valueBytes, "\(bytes.count) bytes of \(key)")
        local.set(GossipValue(key: key, version: nextVersion(), bytes: bytes))
    }

    public mutating func setLocal(_ key: GossipKey, _ text: String) { setLocal(key, Array(text.utf8)) }

    public mutating func setLocal(status: GossipStatus) { setLocal(.status, status.description) }

    /// Raises the generation after `GossipEvent.superseded`. The caller must have persisted it.
    public mutating func raiseGeneration(to generation: Int64) {
        guard generation > local.heartBeat.generation else { return }
        local.heartBeat.generation = generation
    }

    mutating func nextVersion() -> Int64 {
        version += 1
        return version
    }

    /// Sends this node's own state to every live node at once instead of waiting for the next rounds.
    public mutating func announce() -> [GossipEffect] {
        local.heartBeat.version = nextVersion()
        let news = GossipMessage.ack2(states: [GossipEntry(endpoint: configuration.endpoint, state: local)])
        for endpoint in liveEndpoints { effects.append(.send(news, to: endpoint)) }
        return drain()
    }

    /// Announces an orderly shutdown, so that other nodes mark this one down without suspecting it first.
    public mutating func shutdown() -> [GossipEffect] {
        setLocal(status: .shutdown)
        return announce()
    }

    mutating func drain() -> [GossipEffect] {
        defer { effects = [] }
        return effects
    }

    // MARK: The others

    /// All other known nodes, ascending.
    public var endpoints: [Endpoint] { order }
    public var liveEndpoints: [Endpoint] { order.filter { peers[$0]?.isAlive ?? false } }
    /// Nodes that are down and have not departed.
    public var unreachableEndpoints: [Endpoint] {
        order.filter { endpoint in peers[endpoint].map { !$0.isAlive && !$0.isGone } ?? false }
    }

    /// Returns whether the node is up; this node always is.
    public func isAlive(_ endpoint: Endpoint) -> Bool {
        endpoint == configuration.endpoint || peers[endpoint]?.isAlive ?? false
    }

    /// Returns the known state of a node, including this one.
    public func state(of endpoint: Endpoint) -> GossipState? {
        endpoint == configuration.endpoint ? local : peers[endpoint]?.state
    }

    /// Returns the endpoint of the node with this host id.
    public func endpoint(of hostID: UUID) -> Endpoint? {
        hostID == configuration.hostID ? configuration.endpoint : endpointOf[hostID]
    }

    /// Returns the failure detector's verdict on a node, with its reasons.
    public func explain(_ endpoint: Endpoint, now: Int64) -> FailureExplanation? {
        detector.explain(endpoint, now: now)
    }

    func isQuarantined(_ endpoint: Endpoint) -> Bool { quarantined[endpoint] != nil }

    /// Checks the invariants. Expensive; for tests.
    public func checkInvariants() {
        precondition(order == peers.keys.sorted(), "order \(order)")
        precondition(quarantineOrder == quarantined.keys.sorted(), "quarantine \(quarantineOrder)")
        for endpoint in order {
            if let id = peers[endpoint]?.state.hostID {
                precondition(endpointOf[id] == endpoint, "\(id) at \(endpoint)")
            }
        }
        precondition(peers[configuration.endpoint] == nil, "this node is its own peer")
    }
}
