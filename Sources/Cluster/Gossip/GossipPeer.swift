import Messages

/// What a gossiper keeps of another node.
struct GossipPeer: Sendable {
    var state: GossipState
    var isAlive = false
    /// Whether it was ever alive, for this node, in its present generation. Until then a message from it is a sign of life.
    var wasAlive = false
    /// Monotonic microseconds of the last heart beat that was news.
    var heardAt: Int64

    /// Whether the node is one that could answer.
    var mayLive: Bool {
        switch state.status {
        case .left, .removed, .shutdown: false
        default: true
        }
    }

    var isGone: Bool { state.status?.isGone ?? false }

    /// Whether it never owned a token, as far as it says.
    var isVisitor: Bool {
        switch state.status {
        case nil, .joining: true
        default: false
        }
    }
}
