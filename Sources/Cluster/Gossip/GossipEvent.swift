import Messages
import Primitives

/// What a gossiper found out.
public enum GossipEvent: Hashable, Sendable {
    /// A node was heard of for the first time, or again after it had been forgotten. It counts as down until it gives a sign of life.
    case joined(Endpoint)
    case nodeUp(Endpoint)
    case nodeDown(Endpoint, DownReason)
    /// The node runs again, in this generation.
    case nodeRestarted(Endpoint, generation: Int64)
    /// In the order of versions within one node's news, so that what was set last is told last.
    case stateChanged(Endpoint, GossipValue)
    /// The node says that it has left, or another node that it was removed.
    case left(Endpoint)
    /// The node was forgotten.
    case removed(Endpoint)
    /// The node with this host id is reached elsewhere now.
    case addressChanged(UUID, from: Endpoint, to: Endpoint)
    case refused(GossipRefusal)
    /// Others know this node in a greater generation than it has: it must take a greater one (`Gossiper.raiseGeneration`) to be believed,
    /// unless `status` says that it was removed.
    case superseded(generation: Int64, status: GossipStatus?)
    /// This process did not run for so many microseconds; nobody is judged for a while.
    case pausedLocally(Int64)
}

/// Why a node counts as down.
public enum DownReason: Hashable, Sendable {
    case convicted(FailureExplanation)
    /// It said that it stops.
    case shutdown
    /// It left or was removed.
    case gone
    /// Its identity is another's.
    case refused
}
