import DataModel
import Primitives

/// What the system tables say of this node.
public struct NodeInfo: Sendable {
    public var clusterName: String
    public var dataCenter: String
    public var rack: String
    public var hostID: UUID
    /// As text: IPv4 or IPv6.
    public var address: String
    public var nativePort: Int
    public var storagePort: Int
    /// The tokens of the ring this node owns: all of them.
    public var tokens: [Int64]
    /// Names and values for `system_views.settings`.
    public var settings: [(name: String, value: String)]

    public init(
        clusterName: String, dataCenter: String, rack: String, hostID: UUID, address: String, nativePort: Int, storagePort: Int,
        tokens: [Int64], settings: [(name: String, value: String)] = []
    ) {
        self.clusterName = clusterName
        self.dataCenter = dataCenter
        self.rack = rack
        self.hostID = hostID
        self.address = address
        self.nativePort = nativePort
        self.storagePort = storagePort
        self.tokens = tokens
        self.settings = settings
    }

    /// The Cassandra release whose system tables are served, and which cqlsh 6.2 knows.
    public static let releaseVersion = "5.0.0"
    public static let cqlVersion = "3.4.7"
    public static let partitioner = "org.apache.cassandra.dht.Murmur3Partitioner"

    /// Evenly spaced tokens, the same for every start of a node that owns the whole ring.
    public static func evenTokens(_ count: Int) -> [Int64] {
        let step = UInt64.max / UInt64(max(1, count))
        return (0..<max(1, count)).map { Int64(bitPattern: (UInt64($0) &* step &+ step / 2) ^ (1 << 63)) }
    }
}

/// What the node does for its queries. Schema changes come under the schema lock, one at a time.
public protocol SchemaHost: Sendable {
    /// Makes the schema survive a restart, and storage ready for it (`created`, `altered`), before it takes effect.
    /// - Throws: what the client gets; the schema then stays as it was.
    func store(_ schema: Schema, created: [TableMetadata], altered: [TableMetadata]) throws(ServerError)
    /// Storage forgets these tables; after the schema without them took effect.
    func dropped(_ tables: [TableMetadata])
    /// A request took longer than `QueryLimits.slowQuery`; from any thread, outside the schema lock.
    func slow(_ statement: String, milliseconds: Int)
    /// Tells the clients that registered for it.
    func announce(_ change: SchemaChange)
}
