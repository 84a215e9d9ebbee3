/// One application state: bytes, and the version at which its owner last set them.
///
/// A node's values and its heartbeat share one version counter, which restarts with each generation.
public struct GossipValue: Hashable, Sendable {
    public let key: GossipKey
    public let version: Int64
    public let bytes: [UInt8]

    public init(key: GossipKey, version: Int64, bytes: [UInt8]) {
        self.key = key
        self.version = version
        self.bytes = bytes
    }

    public init(key: GossipKey, version: Int64, text: String) {
        self.init(key: key, version: version, bytes: Array(text.utf8))
    }

    /// The bytes as UTF-8; invalid sequences become replacement characters.
    public var text: String { String(decoding: bytes, as: UTF8.self) }
}
