/// Which nodes hold a row, given the ring: the `replication` of a keyspace.
public enum ReplicationStrategy: Hashable, Sendable {
    /// The first `factor` distinct nodes clockwise, wherever they stand. SimpleStrategy.
    case simple(factor: Int)
    /// So many in each data center, on distinct racks as long as there are. NetworkTopologyStrategy.
    case networkTopology([String: Int])
    /// Only the node that asks. LocalStrategy, for the server's own tables.
    case local
    /// Every node that owns tokens. EverywhereStrategy.
    case everywhere

    /// - Parameters:
    ///   - options: `class` and the strategy's options, as the schema keeps them; the class with or without its package.
    ///   - dataCenters: the ring's, to which `replication_factor` of NetworkTopologyStrategy applies unless it is named itself.
    public init(options: [String: String], dataCenters: [String]) throws(PlacementError) {
        guard let name = options["class"] else { throw .missingOption("class") }
        switch name.split(separator: ".").last.map(String.init) ?? name {
        case "LocalStrategy": self = .local
        case "EverywhereStrategy": self = .everywhere
        case "SimpleStrategy":
            guard let text = options["replication_factor"] else { throw .missingOption("replication_factor") }
            self = .simple(factor: try ReplicationStrategy.factor("replication_factor", text))
        case "NetworkTopologyStrategy":
            var factors: [String: Int] = [:]
            if let text = options["replication_factor"] {
                let factor = try ReplicationStrategy.factor("replication_factor", text)
                for name in dataCenters { factors[name] = factor }
            }
            for (key, text) in options.sorted(by: { $0.key < $1.key }) where key != "class" && key != "replication_factor" {
                factors[key] = try ReplicationStrategy.factor(key, text)
            }
            self = .networkTopology(factors)
        default: throw .unknownStrategy(name)
        }
    }

    /// `3`, or `3/1` with transient replicas, which count as replicas.
    private static func factor(_ key: String, _ text: String) throws(PlacementError) -> Int {
        guard let factor = Int(text.prefix { $0 != "/" }), factor >= 0 else { throw .badFactor(key: key, value: text) }
        return factor
    }

    /// Replicas that are wanted in all; nil when it depends on the ring.
    public var factor: Int? {
        switch self {
        case .simple(let factor): factor
        case .networkTopology(let factors): factors.values.reduce(0, +)
        case .local: 1
        case .everywhere: nil
        }
    }
}
