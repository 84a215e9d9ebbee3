/// What nodes gossip, in three steps: `syn` says what is known, `ack` sends what is news and asks for the rest, `ack2` sends that.
///
/// Source of the exchange: van Renesse, Dumitriu, Gough and Thomas, "Efficient Reconciliation and Flow Control for Anti-Entropy
/// Protocols" (2008), in the form Cassandra documents.
public enum GossipMessage: Hashable, Sendable {
    case syn(clusterName: String, partitioner: String, digests: [GossipDigest])
    /// - wanted: of whom the sender wants what is newer than the digest.
    case ack(wanted: [GossipDigest], states: [GossipEntry])
    /// Also used alone, to push news that should not wait for the next round.
    case ack2(states: [GossipEntry])
    /// A node that has not joined asks for all that is known, saying nothing of itself. The answers are `ack`s whose `wanted` lists
    /// everyone known, so that the asker can tell when it has heard of all.
    case shadowSyn(clusterName: String, partitioner: String)
    /// The answer to a `syn` of another cluster or partitioner: what the answering node belongs to.
    case refused(clusterName: String, partitioner: String)
}
