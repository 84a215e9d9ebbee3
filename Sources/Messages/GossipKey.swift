/// The application states a node gossips of itself.
///
/// The raw numbers are part of the format, do not change. A number that is not known here is skipped by the decoder, so that a
/// newer node can say more.
public enum GossipKey: UInt8, Sendable, CaseIterable, Comparable {
    /// `GossipStatus` in text.
    case status = 0
    /// Bytes of data on disk, decimal.
    case load = 1
    /// The schema's version, a UUID in text.
    case schema = 2
    case dataCenter = 3
    case rack = 4
    case releaseVersion = 5
    /// Where clients connect.
    case nativeAddress = 6
    case nativePort = 7
    /// The identity of the node, a UUID in text.
    case hostID = 8
    /// The tokens the node owns, or will own when it has joined: `TokenClaim` list, binary.
    case tokens = 9
    case httpPort = 10
    /// How busy the node says it is, decimal.
    case severity = 11
    case linePort = 12
    /// The tokens a moving node will own: `TokenClaim` list, binary.
    case futureTokens = 13
    /// To whom a leaving node's tokens go: `TokenHeir` list, binary.
    case heirs = 14
    /// The version of the cluster's metadata that the node knows, decimal.
    case metadataEpoch = 15

    public static func < (a: GossipKey, b: GossipKey) -> Bool { a.rawValue < b.rawValue }
}
