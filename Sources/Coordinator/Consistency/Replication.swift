/// The number of replicas of a keyspace, from its replication options.
public struct Replication: Sendable, Equatable {
    /// In all data centers.
    public let total: Int
    /// In this node's data center; equal to `total` with SimpleStrategy.
    public let local: Int
    /// The factor by data center; empty when the strategy has no data centers.
    public let dataCenters: [String: Int]

    /// One replica, on this node: the replication of the system keyspaces.
    public static let here = Replication(total: 1, local: 1, dataCenters: [:])

    public init(total: Int, local: Int, dataCenters: [String: Int]) {
        self.total = total
        self.local = local
        self.dataCenters = dataCenters
    }

    /// - Parameters:
    ///   - options: `class` and the strategy's options, as the schema stores them.
    ///   - dataCenter: this node's data center.
    ///   - dataCenters: all data centers of the cluster, for `replication_factor` of NetworkTopologyStrategy; this
    ///     node's when empty.
    public init(options: [String: String], dataCenter: String, dataCenters: [String] = []) {
        let name = options["class"]?.split(separator: ".").last ?? "SimpleStrategy"
        switch name {
        case "LocalStrategy", "EverywhereStrategy":
            self = .here
        case "NetworkTopologyStrategy":
            var factors: [String: Int] = [:]
            for (key, value) in options where key != "class" {
                let factor = Replication.factor(value)
                if key == "replication_factor" {
                    for name in dataCenters.isEmpty ? [dataCenter] : dataCenters where options[name] == nil {
                        factors[name] = factor
                    }
                } else {
                    factors[key] = factor
                }
            }
            self.init(total: factors.values.reduce(0, +), local: factors[dataCenter] ?? 0, dataCenters: factors)
        default:
            let factor = Replication.factor(options["replication_factor"] ?? "1")
            self.init(total: factor, local: factor, dataCenters: [:])
        }
    }

    /// Parses `3`, or `3/1` with transient replicas, which count as replicas.
    private static func factor(_ text: String) -> Int {
        Int(text.prefix { $0 != "/" }) ?? 1
    }
}
