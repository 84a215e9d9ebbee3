/// Why the replication options of a keyspace are invalid.
public enum PlacementError: Error, Hashable, CustomStringConvertible {
    case unknownStrategy(String)
    case missingOption(String)
    case badFactor(key: String, value: String)

    public var description: String {
        switch self {
        case .unknownStrategy(let name): "Unable to find replication strategy class '\(name)'"
        case .missingOption(let name): "the replication options lack '\(name)'"
        case .badFactor(let key, let value):
            "Replication factor of '\(key)' must be a number of at least 0, it is '\(value)'"
        }
    }
}
