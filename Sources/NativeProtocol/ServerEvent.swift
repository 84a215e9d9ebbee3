import DataModel
import Primitives

/// An event for clients that registered for it (native_protocol_v5.spec, 4.2.6).
public enum ServerEvent: Sendable, Equatable {
    /// The event names of the protocol; do not change.
    public enum Kind: String, Sendable, CaseIterable {
        case topologyChange = "TOPOLOGY_CHANGE"
        case statusChange = "STATUS_CHANGE"
        case schemaChange = "SCHEMA_CHANGE"
    }

    public enum Topology: String, Sendable {
        case newNode = "NEW_NODE", removedNode = "REMOVED_NODE", movedNode = "MOVED_NODE"
    }
    public enum Status: String, Sendable { case up = "UP", down = "DOWN" }

    /// A node's address for clients: 4 or 16 address bytes, and a port.
    public struct Endpoint: Sendable, Equatable {
        public var address: [UInt8]
        public var port: Int32

        public init(address: [UInt8], port: Int32) {
            precondition(address.count == 4 || address.count == 16, "an address of \(address.count) bytes")
            self.address = address
            self.port = port
        }
    }

    case topology(Topology, Endpoint)
    case status(Status, Endpoint)
    case schema(SchemaChange)

    public var kind: Kind {
        switch self {
        case .topology: .topologyChange
        case .status: .statusChange
        case .schema: .schemaChange
        }
    }
}
