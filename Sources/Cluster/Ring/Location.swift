/// The data center and rack of a node.
public struct Location: Hashable, Comparable, Sendable, CustomStringConvertible {
    public let dataCenter: String
    public let rack: String

    public init(dataCenter: String, rack: String) {
        self.dataCenter = dataCenter
        self.rack = rack
    }

    /// The location of a node that has no other configuration; Cassandra's default.
    public static let unknown = Location(dataCenter: "datacenter1", rack: "rack1")

    public var description: String { "\(dataCenter):\(rack)" }

    public static func < (a: Location, b: Location) -> Bool {
        a.dataCenter != b.dataCenter ? a.dataCenter < b.dataCenter : a.rack < b.rack
    }
}
