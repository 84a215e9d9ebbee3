import Messages

/// An action the gossiper requests. Perform effects in the order given.
public enum GossipEffect: Hashable, Sendable {
    /// Sends the message, which may get lost.
    case send(GossipMessage, to: Endpoint)
    case event(GossipEvent)
}
