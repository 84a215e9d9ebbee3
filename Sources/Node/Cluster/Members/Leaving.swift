import Cluster
import Coordinator
import DataModel
import Messages
import Primitives

/// Takes members out of the cluster: this node, which gives its data away first, or a dead one.
///
/// **Thread safety**: all methods, on background threads, which they block.
struct Leaving: Sendable {
    let local: LocalNode
    let metadata: MetadataStore
    let liveness: Liveness
    let ring: RingChanges
    let moves: RangeMoves
    let gossip: GossipDriver
    let hints: HintHandoff
    let batches: BatchReplay
    let log: OperatorLog

    /// Gives this node's data to the nodes that will own it, and leaves the cluster.
    func decommission() throws(ServerError) {
        try ring.make(.leave(local.hostID))
        gossip.announce(.leaving)
        do throws(ServerError) {
            try ring.waitUntilKnown()
            try moves.move(for: local.hostID)
            try batches.handOver()
        } catch {
            do throws(ServerError) { try ring.make(.abort(local.hostID)) } catch {
                log.report("a failed decommission cannot be undone: \(error.message)")
            }
            gossip.announce(.normal)
            throw error
        }
        try ring.finish(local.hostID)
        hints.sendRest(for: 60)
        gossip.announceLeft()
    }

    /// Has the others take over what a dead member owned.
    func remove(_ dead: UUID) throws(ServerError) {
        guard dead != local.hostID else { throw .invalid("this node is alive; it leaves by decommission") }
        guard let member = metadata.current?.member(dead) else { throw .invalid("no member has host id \(dead)") }
        guard !liveness.isAlive(member) else {
            throw .invalid("\(dead) at \(member.node.endpoint) is alive; let it leave itself (decommission)")
        }
        if !member.node.state.owns {
            try ring.make(.abort(dead))
        } else {
            ring.endEarlierChange(without: dead)
            try ring.make(.leave(dead))
            try ring.waitUntilKnown()
            try moves.move(for: dead)
            try ring.finish(dead)
        }
        gossip.announceRemoval(of: member.node.endpoint)
    }
}
