import DataModel
import Primitives

/// What the system tables say of this node.
public struct NodeInfo: Sendable {
    public var clusterName: String
    public var dataCenter: String
    public var rack: String
    /// The name of what says where nodes stand.
    public var snitch = "SimpleSnitch"
    public var hostID: UUID
    /// As text: IPv4 or IPv6.
    public var address: String
    public var nativePort: Int
    public var storagePort: Int
    /// The tokens of the ring this node owns.
    public var tokens: [Int64]
    /// Data centers of the cluster, ascending.
    public var dataCenters: [String]
    /// When this run of the node began, in the numbers of gossip.
    public var generation: Int64 = 1
    /// The other nodes.
    public var peers: [PeerInfo] = []
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
        dataCenters = [dataCenter]
        self.settings = settings
    }

    /// The Cassandra release whose system tables are served, and which cqlsh 6.2 knows.
    public static let releaseVersion = "5.0.0"
    public static let cqlVersion = "3.4.7"
    public static let partitioner = "org.apache.cassandra.dht.Murmur3Partitioner"

}

/// What the system tables say of another node.
public struct PeerInfo: Sendable {
    public var hostID: UUID
    /// As text: IPv4 or IPv6.
    public var address: String
    public var nativePort: Int
    public var storagePort: Int
    public var dataCenter: String
    public var rack: String
    public var tokens: [Int64]
    public var schemaVersion: UUID

    public init(
        hostID: UUID, address: String, nativePort: Int, storagePort: Int, dataCenter: String, rack: String, tokens: [Int64],
        schemaVersion: UUID
    ) {
        self.hostID = hostID
        self.address = address
        self.nativePort = nativePort
        self.storagePort = storagePort
        self.dataCenter = dataCenter
        self.rack = rack
        self.tokens = tokens
        self.schemaVersion = schemaVersion
    }
}

/// What the node does for its queries.
public protocol SchemaHost: Sendable {
    /// Makes a change of the schema, in one order with those of all other nodes. When it returns, the changed schema survives a restart and is in
    /// force (`QueryEngine.install`). May wait.
    /// - Parameter change: the next schema from the present one; nil when there is nothing to change. May be called more than once, on any thread.
    /// - Throws: what the client gets.
    func change(_ engine: QueryEngine, _ change: @escaping SchemaStep) throws(ServerError)
    /// As `change`, and when it returns the changed schema is in force on every node.
    /// - Throws: also, with nothing done, when a node is down; and when not all have confirmed it in time, in which case they will go by it all the same.
    func changeEverywhere(_ engine: QueryEngine, _ change: @escaping SchemaStep) throws(ServerError)
    /// A request took longer than `QueryLimits.slowQuery`; from any thread.
    func slow(_ statement: String, milliseconds: Int)
}

extension SchemaHost {
    /// Where there are no other nodes.
    public func changeEverywhere(_ engine: QueryEngine, _ change: @escaping SchemaStep) throws(ServerError) {
        try self.change(engine, change)
    }
}

/// The schema that follows one; nil: nothing changes.
public typealias SchemaStep = @Sendable (Schema) throws(ServerError) -> Schema?
