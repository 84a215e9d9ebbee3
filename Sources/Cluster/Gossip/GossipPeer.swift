import Messages

/// A gossiper's record of another node.
struct GossipPeer: Sendable {
    var state: GossipState
    var isAlive = false
    /// Whether this gossiper ever saw the node alive in its current generation. Until then, any message from the node
    /// marks it up.
    var wasAlive = false
    /// When the last new heartbeat arrived, in monotonic microseconds.
    var heardAt: Int64

    /// Whether the node's status allows it to be up.
    var canBeUp: Bool {
        switch state.status {
        case .left, .removed, .shutdown: false
        default: true
        }
    }

    var isGone: Bool { state.status?.isGone ?? false }

    /// Whether the node never owned a token, according to its status.
    var neverOwnedTokens: Bool {
        switch state.status {
        case nil, .joining: true
        default: false
        }
    }
}
