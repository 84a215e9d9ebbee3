import Cluster
import Glibc
import Yams

extension NodeConfiguration {
    /// Returns the configuration from four sources, each overriding the one before: defaults, file, environment,
    /// `--set`.
    /// - Parameters:
    ///   - path: a YAML file; nil for none.
    ///   - environment: variables by name; only names that begin with `AUSPEX_` are used. Those that name no setting
    ///     end up in `warnings`.
    ///   - overrides: `key=value`; later ones win.
    public static func load(
        path: String?, environment: [String: String], overrides: [String]
    ) throws(ConfigurationError) -> NodeConfiguration {
        var configuration = NodeConfiguration()
        if let path { try configuration.apply(yaml: try readFile(path), path: path) }
        for (name, value) in environment.sorted(by: { $0.key < $1.key }) where name.hasPrefix("AUSPEX_") {
            let key: ConfigurationKey
            do throws(ConfigurationError) {
                key = try ConfigurationKey.named(String(name.dropFirst(7)).lowercased(), source: .environment(name))
            } catch {
                // Kubernetes makes variables of this form for every service called `auspex`.
                configuration.warnings.append("\(error); the variable is ignored")
                continue
            }
            try key.set(value, in: &configuration, source: .environment(name))
        }
        for override in overrides {
            guard let equals = override.firstIndex(of: "=") else { throw .malformedOverride(override) }
            let key = try ConfigurationKey.named(String(override[..<equals]), source: .commandLine)
            try key.set(String(override[override.index(after: equals)...]), in: &configuration, source: .commandLine)
        }
        try configuration.resolveLocation(beside: path)
        try configuration.validate()
        return configuration
    }

    /// Applies every key of a YAML text; a key without a value keeps its previous value.
    mutating func apply(yaml: String, path: String) throws(ConfigurationError) {
        let root: Yams.Node?
        do { root = try Yams.compose(yaml: yaml) } catch { throw .malformedYAML(path, reason: "\(error)") }
        guard let root else { return }
        if let scalar = root.scalar, scalar.string.isEmpty { return }
        guard let mapping = root.mapping else { throw .malformedYAML(path, reason: "the top level is not a mapping") }
        var seen: Set<String> = []
        try apply(mapping, group: nil, path, &seen)
    }

    /// - Parameter group: the key whose value the mapping is; nil at the top level.
    private mutating func apply(
        _ mapping: Yams.Node.Mapping, group: String?, _ path: String, _ seen: inout Set<String>
    ) throws(ConfigurationError) {
        for (keyNode, valueNode) in mapping {
            guard let word = keyNode.scalar?.string else {
                throw .malformedYAML(path, reason: "a key is not a plain word")
            }
            let name = group.map { "\($0).\(word)" } ?? word
            if group == nil, ConfigurationKey.all.contains(where: { $0.name.hasPrefix(name + ".") }) {
                if let inner = valueNode.mapping {
                    try apply(inner, group: name, path, &seen)
                } else if let scalar = valueNode.scalar,
                    scalar.string.isEmpty || scalar.string == "null" || scalar.string == "~"
                {
                    continue
                } else {
                    throw .invalidValue(
                        key: name, value: "not a mapping", expected: "a mapping of keys to values", source: .file(path))
                }
                continue
            }
            let key = try ConfigurationKey.named(name, source: .file(path))
            guard seen.insert(name).inserted else { throw .malformedYAML(path, reason: "\(name) is given twice") }
            guard let scalar = valueNode.scalar else {
                throw .invalidValue(key: name, value: "a list or mapping", expected: "one value", source: .file(path))
            }
            if scalar.style == .plain && (scalar.string.isEmpty || scalar.string == "null" || scalar.string == "~") {
                continue
            }
            try key.set(scalar.string, in: &self, source: .file(path))
        }
    }

    /// Checks what involves several keys.
    func validate() throws(ConfigurationError) {
        if tokenStrategy != "random", TokenGrid(count: ringPartitions) == nil {
            throw .contradiction("ring_partitions (\(ringPartitions)) must be a power of two: 64, 128, 256, ...")
        }
        if queryLimits.maxMutationSize > commitlogSegmentSize / 2 {
            throw .contradiction(
                "max_mutation_size (\(Quantity.text(bytes: queryLimits.maxMutationSize))) is more than half of commitlog_segment_size "
                    + "(\(Quantity.text(bytes: commitlogSegmentSize))); a mutation must fit into a segment: raise the one or lower the other"
            )
        }
        if commitlogTotalSpace < 2 * commitlogSegmentSize {
            throw .contradiction(
                "commitlog_total_space (\(Quantity.text(bytes: commitlogTotalSpace))) must hold at least two segments of "
                    + "\(Quantity.text(bytes: commitlogSegmentSize)) (commitlog_segment_size)")
        }
        if queryLimits.tombstoneFailureThreshold < queryLimits.tombstoneWarnThreshold {
            throw .contradiction(
                "tombstone_failure_threshold is below tombstone_warn_threshold; reads would fail before they warn")
        }
        if let complaint = serverEncryption.complaint ?? clientEncryption.complaint { throw .contradiction(complaint) }
        if nativeTransportPortSSL > 0 && !clientEncryption.enabled {
            throw .contradiction(
                "native_transport_port_ssl needs client_encryption_options with enabled: true and a keystore")
        }
        if queryLimits.batchSizeFailThreshold < queryLimits.batchSizeWarnThreshold {
            throw .contradiction(
                "batch_size_fail_threshold is below batch_size_warn_threshold; batches would fail before they warn")
        }
    }

    static func readFile(_ path: String) throws(ConfigurationError) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .unreadableFile(path, reason: String(cString: strerror(errno))) }
        defer { close(descriptor) }
        var contents: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            let got = read(descriptor, &chunk, chunk.count)
            if got < 0 && errno == EINTR { continue }
            guard got >= 0 else { throw .unreadableFile(path, reason: String(cString: strerror(errno))) }
            if got == 0 { break }
            contents.append(contentsOf: chunk[..<got])
            guard contents.count <= 1 << 20 else {
                throw .unreadableFile(path, reason: "it is longer than 1 MiB; is it the right file?")
            }
        }
        guard let text = String(validating: contents, as: UTF8.self) else {
            throw .unreadableFile(path, reason: "it is not UTF-8")
        }
        return text
    }
}
