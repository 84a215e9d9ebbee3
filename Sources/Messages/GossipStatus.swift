import Primitives

/// What a node says it is, the value of `GossipKey.status`.
public enum GossipStatus: Hashable, Sendable, CustomStringConvertible {
    /// It streams what it will own.
    case joining
    /// It owns its tokens.
    case normal
    /// It streams what it owns to those who will own it; it still owns it.
    case leaving
    /// It streams for new tokens; it still owns the old ones.
    case moving
    /// It takes the place of a dead node with this host id.
    case replacing(UUID)
    /// It has left. Its state is forgotten at the wall-clock time `expires`, in microseconds since 1970.
    case left(expires: Int64)
    /// Others have removed it. Its state is forgotten at the wall-clock time `expires`, in microseconds since 1970.
    case removed(expires: Int64)
    /// It was stopped in good order and owns what it owned.
    case shutdown

    /// Whether the node has gone for good.
    public var isGone: Bool {
        switch self {
        case .left, .removed: true
        default: false
        }
    }

    /// When to forget the state of a node that has gone: microseconds since 1970.
    public var expires: Int64? {
        switch self {
        case .left(let expires), .removed(let expires): expires
        default: nil
        }
    }

    /// The text that is gossiped; part of the format, do not change.
    public var description: String {
        switch self {
        case .joining: "BOOT"
        case .normal: "NORMAL"
        case .leaving: "LEAVING"
        case .moving: "MOVING"
        case .replacing(let id): "REPLACING,\(id)"
        case .left(let expires): "LEFT,\(expires)"
        case .removed(let expires): "REMOVED,\(expires)"
        case .shutdown: "SHUTDOWN"
        }
    }

    /// nil for a status this node does not know.
    public init?(_ text: String) {
        let parts = text.split(separator: ",", omittingEmptySubsequences: false)
        switch (parts[0], parts.count) {
        case ("BOOT", 1): self = .joining
        case ("NORMAL", 1): self = .normal
        case ("LEAVING", 1): self = .leaving
        case ("MOVING", 1): self = .moving
        case ("SHUTDOWN", 1): self = .shutdown
        case ("REPLACING", 2):
            guard let id = UUID(parts[1]) else { return nil }
            self = .replacing(id)
        case ("LEFT", 2):
            guard let expires = Int64(parts[1]) else { return nil }
            self = .left(expires: expires)
        case ("REMOVED", 2):
            guard let expires = Int64(parts[1]) else { return nil }
            self = .removed(expires: expires)
        default: return nil
        }
    }
}
