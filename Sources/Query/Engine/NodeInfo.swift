import DataModel
import Primitives

/// This node as the system tables show it.
public struct NodeInfo: Sendable {
    public var clusterName: String
    public var dataCenter: String
    public var rack: String
    /// The snitch's name, as the system tables show it.
    public var snitch = "SimpleSnitch"
    public var hostID: UUID
    /// IPv4 or IPv6, as text.
    public var address: String
    public var nativePort: Int
    public var storagePort: Int
    /// The tokens of the ring this node owns.
    public var tokens: [Int64]
    /// Data centers of the cluster, ascending.
    public var dataCenters: [String]
    /// The generation of this node in gossip: it grows with every start.
    public var generation: Int64 = 1
    /// The other nodes.
    public var peers: [PeerInfo] = []
    /// Names and values for `system_views.settings`.
    public var settings: [(name: String, value: String)]

    public init(
        clusterName: String, dataCenter: String, rack: String, hostID: UUID, address: String, nativePort: Int,
        storagePort: Int,
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

/// Another node as the system tables show it.
public struct PeerInfo: Sendable {
    public var hostID: UUID
    /// IPv4 or IPv6, as text.
    public var address: String
    public var nativePort: Int
    public var storagePort: Int
    public var dataCenter: String
    public var rack: String
    public var tokens: [Int64]
    public var schemaVersion: UUID

    public init(
        hostID: UUID, address: String, nativePort: Int, storagePort: Int, dataCenter: String, rack: String,
        tokens: [Int64],
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

/// The services a query engine needs from its node.
public protocol SchemaHost: Sendable {
    /// Makes a schema change, in one order with the changes of all other nodes. When it returns, the new schema is
    /// durable and in force on this node (`QueryEngine.install`). Waits.
    /// - Parameter change: computes the next schema from the current one; nil when nothing changes. It may be called
    ///   more than once, on any thread.
    /// - Throws: the error for the client.
    func change(_ engine: QueryEngine, _ change: @escaping SchemaStep) throws(ServerError)
    /// As `change`, and when it returns the new schema is in force on every node.
    /// - Throws: with nothing done, when a node is down. Also when not every node confirmed the change in time; the
    ///   change stays in force then.
    func changeEverywhere(_ engine: QueryEngine, _ change: @escaping SchemaStep) throws(ServerError)
    /// Reports a request that took longer than `QueryLimits.slowQuery`. Called from any thread.
    func slow(_ statement: String, milliseconds: Int)
}

extension SchemaHost {
    /// Without other nodes, `change` is enough.
    public func changeEverywhere(_ engine: QueryEngine, _ change: @escaping SchemaStep) throws(ServerError) {
        try self.change(engine, change)
    }
}

/// Computes the next schema from a given one; nil when nothing changes.
public typealias SchemaStep = @Sendable (Schema) throws(ServerError) -> Schema?
