import Cluster
import DataModel
import Messages
import Primitives
import Query
import Synchronization

/// Keeps what the system tables say of the members up to date.
///
/// **Thread safety**: all methods, from any thread.
struct SystemPeers: Sendable {
    let local: LocalNode
    let liveness: Liveness
    let queries: QueryEngine

    /// Updates the system tables to a version of the metadata and to what gossip knows now.
    func update(_ metadata: ClusterMetadata, _ schema: Schema) {
        let versions = liveness.gossiper.withLock { gossiper in
            metadata.members.map { gossiper?.state(of: $0.node.endpoint)?[.schema].flatMap { UUID($0.text) } }
        }
        let ring = metadata.ring
        let own = metadata.member(local.hostID)
        let generation = liveness.gossiper.withLock { $0?.local.heartBeat.generation ?? 1 }
        let (hostID, nativePort) = (local.hostID, local.nativePort.load(ordering: .relaxed))
        queries.update { info in
            info.tokens = ring.claims(heldBy: hostID).map(\.token)
            info.dataCenters = ring.dataCenters.isEmpty ? [info.dataCenter] : ring.dataCenters
            if let own { info.storagePort = own.node.endpoint.port }
            if nativePort > 0 { info.nativePort = nativePort }
            info.generation = generation
            info.peers = zip(metadata.members, versions).compactMap { member, version in
                let node = member.node
                guard node.id != hostID, node.state.owns else { return nil }
                return PeerInfo(
                    hostID: node.id, address: node.endpoint.address, nativePort: member.nativePort,
                    storagePort: node.endpoint.port, dataCenter: node.location.dataCenter, rack: node.location.rack,
                    tokens: ring.claims(heldBy: node.id).map(\.token), schemaVersion: version ?? schema.version)
            }
        }
    }
}
