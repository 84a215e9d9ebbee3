import Primitives

/// Why bytes from a peer are not a gossip message. Offsets count from the message's first byte.
public enum GossipError: Error, Equatable, CustomStringConvertible {
    /// The bytes ended early or a varint was malformed.
    case bytes(ByteError)
    /// The sender uses another version of the format.
    case unsupportedVersion(UInt8)
    /// `what` had an invalid value.
    case malformed(what: String, offset: Int)
    /// `what` was larger than its limit.
    case tooLarge(what: String, limit: Int, found: Int)

    public var description: String {
        switch self {
        case .bytes(let error): "gossip message: \(error)"
        case .unsupportedVersion(let version):
            "gossip message of format \(version), this node speaks \(GossipMessage.formatVersion); upgrade the older node"
        case .malformed(let what, let offset): "gossip message: bad \(what) at byte \(offset)"
        case .tooLarge(let what, let limit, let found): "gossip message: \(found) \(what), at most \(limit) are allowed"
        }
    }
}
