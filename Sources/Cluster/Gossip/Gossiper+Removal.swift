import Messages
import Primitives

/// Why a node cannot be removed.
public enum GossipRemovalError: Error, Hashable, CustomStringConvertible {
    case unknownNode(Endpoint)
    case alive(Endpoint)

    public var description: String {
        switch self {
        case .unknownNode(let endpoint): "no node is known at \(endpoint)"
        case .alive(let endpoint): "\(endpoint) is alive; let it leave itself (decommission)"
        }
    }
}

extension Gossiper {
    /// Announces that this node has left. It should keep gossiping for a few more rounds.
    ///
    /// - Parameter wall: microseconds since 1970.
    public mutating func leave(wall: Int64) -> [GossipEffect] {
        setLocal(status: .left(expires: wall + GossipConfiguration.departedStateLife))
        return announce()
    }

    /// Announces the removal of a dead node on its behalf. Raises the node's generation, so that others ignore the dead
    /// node if it comes back with its old one.
    ///
    /// - Parameters:
    ///   - now: monotonic microseconds.
    ///   - wall: microseconds since 1970.
    public mutating func remove(_ endpoint: Endpoint, now: Int64, wall: Int64) throws(GossipRemovalError)
        -> [GossipEffect]
    {
        guard let peer = peers[endpoint] else { throw .unknownNode(endpoint) }
        guard !peer.isAlive else { throw .alive(endpoint) }
        var state = peer.state
        let version = min(state.maxVersion, Int64.max - 2) + 1
        let status = GossipStatus.removed(expires: wall + GossipConfiguration.departedStateLife)
        state.heartBeat = HeartBeat(generation: state.heartBeat.generation + 1, version: version + 1)
        state.set(GossipValue(key: .status, version: version, text: status.description))
        apply([GossipEntry(endpoint: endpoint, state: state)], now: now, wall: wall)
        return drain()
    }
}
