import DataModel

/// Validation of the options of CREATE and ALTER KEYSPACE.
enum ReplicationRules {
    private static let package = "org.apache.cassandra.locator."

    static func attributes(
        _ properties: [Property], keyspace: String
    ) throws(ServerError) -> (replication: [String: String]?, durableWrites: Bool?, sloppyQuorum: Bool?) {
        var replication: [String: String]?
        var durableWrites: Bool?
        var sloppyQuorum: Bool?
        var seen: Set<String> = []
        for property in properties {
            let name = property.name.lowercased()
            guard seen.insert(name).inserted else { throw .syntax("Multiple definition for property '\(name)'") }
            switch name {
            case "replication":
                guard case .map(let map) = property.value else {
                    throw .syntax("Invalid value for property 'replication'. It should be a map.")
                }
                replication = try check(map, keyspace: keyspace)
            case "durable_writes": durableWrites = try property.value.boolean(for: "durable_writes")
            // An extension to Cassandra. It is not a key of `replication`, because drivers take unknown keys there for
            // data centers.
            case "sloppy_quorum": sloppyQuorum = try property.value.boolean(for: "sloppy_quorum")
            default: throw .syntax("Unknown property '\(property.name)'")
            }
        }
        return (replication, durableWrites, sloppyQuorum)
    }

    /// Validates the replication map and returns it with the full class name.
    private static func check(_ map: [String: String], keyspace: String) throws(ServerError) -> [String: String] {
        func fail(_ message: String) -> ServerError { ServerError(.configError, message) }
        guard let name = map["class"], !name.isEmpty else { throw fail("Missing replication strategy class") }
        let simple = name.hasPrefix(package) ? String(name.dropFirst(package.count)) : name
        var result = map
        switch simple {
        case "SimpleStrategy":
            let unknown = map.keys.filter { $0 != "class" && $0 != "replication_factor" }.sorted()
            guard unknown.isEmpty else {
                throw fail(
                    "Unrecognized strategy option {\(unknown.joined(separator: ", "))} passed to SimpleStrategy for keyspace \(keyspace)"
                )
            }
            guard let factor = map["replication_factor"] else {
                throw fail("SimpleStrategy requires a replication_factor strategy option.")
            }
            try checkFactor(factor)
        case "NetworkTopologyStrategy":
            for (datacenter, factor) in map.sorted(by: { $0.key < $1.key }) where datacenter != "class" {
                try checkFactor(factor)
            }
            guard map.count > 1 else { throw fail("Configuration for at least one datacenter must be present") }
        case "LocalStrategy", "EverywhereStrategy":
            throw fail("Unable to use given strategy class: \(simple) is reserved for internal use.")
        default:
            throw fail("Unable to find replication strategy class '\(name.contains(".") ? name : package + name)'")
        }
        result["class"] = package + simple
        return result
    }

    private static func checkFactor(_ text: String) throws(ServerError) {
        guard let factor = Int32(text) else {
            throw ServerError(.configError, "Replication factor must be numeric; found \(text)")
        }
        guard factor >= 0 else {
            throw ServerError(.configError, "Replication factor must be non-negative; found \(text)")
        }
    }
}
