import Cluster
import DataModel
import Messages
import Primitives

extension ClusterMetadata {
    /// The metadata of a cluster that consists of one node.
    static func founding(
        _ configuration: NodeConfiguration, hostID: UUID, seed: UInt64
    ) throws(NodeError) -> ClusterMetadata {
        let strategy: TokenStrategy
        let grid = TokenGrid(count: configuration.ringPartitions)
        switch (configuration.tokenStrategy, grid) {
        case ("random", _): strategy = .random(tokensPerNode: configuration.numTokens)
        case ("random_over_partitions", let grid?):
            strategy = .randomOverPartitions(grid, tokensPerNode: configuration.numTokens)
        case (_, let grid?): strategy = .equalPartitions(grid)
        // Not reached: the configuration was checked.
        default: throw .identity("ring_partitions must be a power of two")
        }
        var allocator = TokenAllocator(strategy: strategy, seed: seed)
        let location = Location(dataCenter: configuration.dataCenter, rack: configuration.rack)
        let claims: [TokenClaim]
        do throws(TokenError) {
            claims = try allocator.tokens(
                forNodeAt: location, joining: Ring(nodes: [], partitions: strategy.ringPartitions))
        } catch { throw .identity("tokens cannot be chosen: \(error)") }
        let node = RingNode(
            id: hostID, endpoint: Endpoint(address: configuration.listenAddress, port: configuration.storagePort),
            location: location, claims: claims)
        return ClusterMetadata(
            epoch: 1, strategy: strategy,
            members: [ClusterMetadata.Member(node: node, nativePort: configuration.nativeTransportPort)])
    }

    /// Checks that a member stays in the data center and rack it is registered in: its replicas were placed by them.
    /// - Throws: `identity` when the configuration names others.
    func checkPlace(of hostID: UUID, _ configuration: NodeConfiguration) throws(NodeError) {
        guard let known = member(hostID)?.node.location else { return }
        func refuse(_ what: String, _ now: String, _ before: String) -> NodeError {
            .identity(
                "Cannot start node if snitch's \(what) (\(now)) differs from previous \(what) (\(before)): its "
                    + "replicas were placed by the previous one. Set \(before) again, or decommission this node and let "
                    + "it join again with an empty data directory")
        }
        if known.dataCenter != configuration.dataCenter {
            throw refuse("data center", configuration.dataCenter, known.dataCenter)
        }
        if known.rack != configuration.rack { throw refuse("rack", configuration.rack, known.rack) }
    }
}
