/// The application states a node gossips about itself.
///
/// The raw values are part of the format; do not change. The decoder skips unknown keys, so a newer node may send more.
public enum GossipKey: UInt8, Sendable, CaseIterable, Comparable {
    /// The text of a `GossipStatus`.
    case status = 0
    /// The bytes of data on disk, decimal.
    case load = 1
    /// The schema version, a UUID as text.
    case schema = 2
    case dataCenter = 3
    case rack = 4
    case releaseVersion = 5
    /// The address for clients.
    case nativeAddress = 6
    case nativePort = 7
    /// The node's identity, a UUID as text.
    case hostID = 8
    // 9 to 14 are reserved: earlier releases defined them for tokens, ports and load, and no release sent them.
    /// The epoch of the newest cluster metadata the node has, decimal.
    case metadataEpoch = 15

    public static func < (a: GossipKey, b: GossipKey) -> Bool { a.rawValue < b.rawValue }
}
