/// The source of a configured value, for error messages.
public enum ConfigurationSource: Sendable, Equatable, CustomStringConvertible {
    case file(String)
    case environment(String)
    case commandLine

    public var description: String {
        switch self {
        case .file(let path): path
        case .environment(let name): "environment variable \(name)"
        case .commandLine: "--set"
        }
    }
}

/// The reason why a configuration was rejected; `description` says how to fix it.
public enum ConfigurationError: Error, Sendable, Equatable, CustomStringConvertible {
    case unreadableFile(String, reason: String)
    case malformedYAML(String, reason: String)
    case unknownKey(String, nearest: String?, source: ConfigurationSource)
    case invalidValue(key: String, value: String, expected: String, source: ConfigurationSource)
    /// An override that is not `key=value`.
    case malformedOverride(String)
    case contradiction(String)
    /// The file with this node's data center and rack, as the snitch reads it.
    case snitchFile(String, snitch: String, reason: String)

    public var description: String {
        switch self {
        case .unreadableFile(let path, let reason): "cannot read the configuration \(path): \(reason)"
        case .malformedYAML(let path, let reason): "\(path) is not a YAML mapping of keys to values: \(reason)"
        case .unknownKey(let name, let nearest, let source):
            if let nearest {
                "\(source): unknown configuration key '\(name)'; did you mean '\(nearest)'?"
            } else {
                "\(source): unknown configuration key '\(name)'; conf/auspex.yaml lists them all"
            }
        case .invalidValue(let key, let value, let expected, let source):
            "\(source): \(key) is '\(value)'; it must be \(expected)"
        case .malformedOverride(let text): "--set \(text): expected key=value"
        case .contradiction(let text): text
        case .snitchFile(let path, let snitch, let reason):
            "endpoint_snitch \(snitch) cannot determine this node's data center and rack from \(path): \(reason)"
        }
    }
}
