import Messages

/// What a gossiper wants done, in this order.
public enum GossipEffect: Hashable, Sendable {
    /// Send the message; it may get lost.
    case send(GossipMessage, to: Endpoint)
    case event(GossipEvent)
}
