import Messages
import Primitives

/// A change the gossiper observed.
public enum GossipEvent: Hashable, Sendable {
    /// A node became known, for the first time or again after it was forgotten. It is down until it shows a sign of
    /// life.
    case joined(Endpoint)
    case nodeUp(Endpoint)
    case nodeDown(Endpoint, DownReason)
    /// The node restarted with this generation.
    case nodeRestarted(Endpoint, generation: Int64)
    /// A value of the node changed. Events of one message come in the order of their versions.
    case stateChanged(Endpoint, GossipValue)
    /// The node announced that it left, or another node announced its removal.
    case left(Endpoint)
    /// The gossiper forgot the node.
    case removed(Endpoint)
    /// The node with this host id has a new address.
    case addressChanged(UUID, from: Endpoint, to: Endpoint)
    case refused(GossipRefusal)
    /// Other nodes know this node with a greater generation than its own. It must raise its generation
    /// (`Gossiper.raiseGeneration`) before others accept its state, unless `status` says that it was removed.
    case superseded(generation: Int64, status: GossipStatus?)
    /// This process did not run for this many microseconds. No node is convicted for a while.
    case pausedLocally(Int64)
}

/// Why a node is down.
public enum DownReason: Hashable, Sendable {
    case convicted(FailureExplanation)
    /// The node announced its shutdown.
    case shutdown
    /// The node left or was removed.
    case gone
    /// The node's host id belongs to another node.
    case refused
}
