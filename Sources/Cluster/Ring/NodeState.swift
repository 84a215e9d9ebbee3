import Primitives

/// The state of a node in the ring.
public enum NodeState: Hashable, Sendable {
    /// Owns nothing yet. Its claims are the tokens it will own.
    case joining
    /// Owns its tokens.
    case normal
    /// Still owns its tokens. `heirs` names the new owner of each; a token without an heir goes to the next node
    /// clockwise.
    case leaving(heirs: [TokenSuccessor])
    /// Owns nothing any more.
    case left
    /// Will own the tokens of the dead node with this host id.
    case replacing(UUID)

    /// The state in one word.
    public var name: String {
        switch self {
        case .joining: "joining"
        case .normal: "normal"
        case .leaving: "leaving"
        case .left: "left"
        case .replacing: "replacing"
        }
    }

    /// Whether the node owns its tokens now.
    public var owns: Bool {
        switch self {
        case .normal, .leaving: true
        case .joining, .left, .replacing: false
        }
    }
}
