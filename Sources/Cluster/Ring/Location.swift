/// Where a node stands: its data center and the rack in it.
public struct Location: Hashable, Comparable, Sendable, CustomStringConvertible {
    public let dataCenter: String
    public let rack: String

    public init(dataCenter: String, rack: String) {
        self.dataCenter = dataCenter
        self.rack = rack
    }

    /// What a node is told when nobody says otherwise, as in Cassandra.
    public static let unknown = Location(dataCenter: "datacenter1", rack: "rack1")

    public var description: String { "\(dataCenter):\(rack)" }

    public static func < (a: Location, b: Location) -> Bool {
        a.dataCenter != b.dataCenter ? a.dataCenter < b.dataCenter : a.rack < b.rack
    }
}
