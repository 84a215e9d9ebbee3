import Primitives

/// What a node of the ring is doing.
public enum NodeState: Hashable, Sendable {
    /// Its tokens are those it will own.
    case joining
    /// It owns its tokens.
    case normal
    /// It owns its tokens still. `heirs` says who takes which; what no heir is named for goes to the next node clockwise.
    case leaving(heirs: [TokenHeir])
    /// It owns nothing any more.
    case left
    /// It owns its tokens still and will own these instead.
    case moving(to: [TokenClaim])
    /// It will own the tokens of this dead node.
    case replacing(UUID)

    /// Whether the node owns its tokens now.
    public var owns: Bool {
        switch self {
        case .normal, .leaving, .moving: true
        case .joining, .left, .replacing: false
        }
    }
}
