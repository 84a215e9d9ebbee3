/// The `replication` of a keyspace: which nodes of a ring hold a row.
public enum ReplicationStrategy: Hashable, Sendable {
    /// SimpleStrategy: the first `factor` distinct nodes clockwise, whatever their location.
    case simple(factor: Int)
    /// NetworkTopologyStrategy: this many nodes in each data center, on distinct racks as far as possible.
    case networkTopology([String: Int])
    /// LocalStrategy: only this node; for the server's own tables.
    case local
    /// EverywhereStrategy: every node that owns tokens.
    case everywhere

    /// - Parameters:
    ///   - options: `class` and the strategy's options as the schema keeps them; the class with or without its package.
    ///   - dataCenters: the ring's data centers. `replication_factor` of NetworkTopologyStrategy applies to those not
    ///     named in `options`.
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
            for (key, text) in options.sorted(by: { $0.key < $1.key })
            where key != "class" && key != "replication_factor" {
                factors[key] = try ReplicationStrategy.factor(key, text)
            }
            self = .networkTopology(factors)
        default: throw .unknownStrategy(name)
        }
    }

    /// Parses `3`, or `3/1`: three replicas of which one is transient. Transient replicas count as full ones.
    private static func factor(_ key: String, _ text: String) throws(PlacementError) -> Int {
        guard let factor = Int(text.prefix { $0 != "/" }), factor >= 0 else { throw .badFactor(key: key, value: text) }
        return factor
    }

    /// The total number of replicas; nil when it depends on the ring.
    public var factor: Int? {
        switch self {
        case .simple(let factor): factor
        case .networkTopology(let factors): factors.values.reduce(0, +)
        case .local: 1
        case .everywhere: nil
        }
    }
}
