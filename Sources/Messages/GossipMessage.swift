/// A gossip message. An exchange has three steps: `syn` lists how far its sender knows each node; `ack` answers with
/// newer states and requests those that its own sender lacks; `ack2` sends the requested states.
///
/// Source: van Renesse, Dumitriu, Gough and Thomas, "Efficient Reconciliation and Flow Control for Anti-Entropy
/// Protocols" (2008), in the form Cassandra documents.
public enum GossipMessage: Hashable, Sendable {
    case syn(clusterName: String, partitioner: String, digests: [GossipDigest])
    /// - wanted: endpoints whose state newer than the digest the sender requests.
    case ack(wanted: [GossipDigest], states: [GossipEntry])
    /// Also sent alone, to push news that should not wait for the next round.
    case ack2(states: [GossipEntry])
    /// The question of a node that has not joined: everything known, without revealing its own state. The answers are
    /// `ack`s whose `wanted` lists all known endpoints, so that the asker can tell when it has received all.
    case shadowSyn(clusterName: String, partitioner: String)
    /// The answer to a `syn` of another cluster or partitioner: the answering node's cluster name and partitioner.
    case refused(clusterName: String, partitioner: String)
}
