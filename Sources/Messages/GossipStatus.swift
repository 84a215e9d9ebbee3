/// The status a node announces; the value of `GossipKey.status`.
public enum GossipStatus: Hashable, Sendable, CustomStringConvertible {
    /// Receiving the data of the tokens it will own.
    case joining
    /// Owns its tokens.
    case normal
    /// Sending its data to the future owners; still owns its tokens.
    case leaving
    /// Has left. Its state is forgotten at the wall-clock time `expires`, in microseconds since 1970.
    case left(expires: Int64)
    /// Was removed by other nodes. Its state is forgotten at the wall-clock time `expires`, in microseconds since 1970.
    case removed(expires: Int64)
    /// Was shut down in an orderly way; still owns its tokens.
    case shutdown

    /// Whether the node has left or was removed.
    public var isGone: Bool {
        switch self {
        case .left, .removed: true
        default: false
        }
    }

    /// When to forget the state of a departed node, in microseconds since 1970.
    public var expires: Int64? {
        switch self {
        case .left(let expires), .removed(let expires): expires
        default: nil
        }
    }

    /// The gossiped text. Part of the format; do not change. MOVING and REPLACING are reserved: earlier releases
    /// defined them, and no release sent them.
    public var description: String {
        switch self {
        case .joining: "BOOT"
        case .normal: "NORMAL"
        case .leaving: "LEAVING"
        case .left(let expires): "LEFT,\(expires)"
        case .removed(let expires): "REMOVED,\(expires)"
        case .shutdown: "SHUTDOWN"
        }
    }

    /// Returns nil for an unknown status.
    public init?(_ text: String) {
        let parts = text.split(separator: ",", omittingEmptySubsequences: false)
        switch (parts[0], parts.count) {
        case ("BOOT", 1): self = .joining
        case ("NORMAL", 1): self = .normal
        case ("LEAVING", 1): self = .leaving
        case ("SHUTDOWN", 1): self = .shutdown
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
