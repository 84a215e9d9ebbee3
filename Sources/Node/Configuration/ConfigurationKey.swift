import Primitives

/// One configuration key: its YAML name, its type, and the field that it sets.
public struct ConfigurationKey: Sendable {
    /// Lower case with underscores; Cassandra's name if the meaning is Cassandra's. A dot separates the name of a
    /// group, which is a mapping in YAML, from the key within it.
    public let name: String
    let place: Place

    /// The type of a value and its field.
    enum Place: Sendable {
        case text(WritableKeyPath<NodeConfiguration, String> & Sendable)
        /// Addresses or ids; may be empty.
        case optionalText(
            WritableKeyPath<NodeConfiguration, String> & Sendable, isGood: @Sendable (String) -> Bool, expected: String)
        case choice(WritableKeyPath<NodeConfiguration, String> & Sendable, [String])
        /// The name of a Cassandra class, with or without its package.
        case className(WritableKeyPath<NodeConfiguration, String> & Sendable, [String])
        case boolean(WritableKeyPath<NodeConfiguration, Bool> & Sendable)
        case decimal(WritableKeyPath<NodeConfiguration, Double> & Sendable, ClosedRange<Double>)
        case number(WritableKeyPath<NodeConfiguration, Int> & Sendable, ClosedRange<Int>)
        case bytes(WritableKeyPath<NodeConfiguration, Int> & Sendable, ClosedRange<Int>)
        case bytesPerSecond(WritableKeyPath<NodeConfiguration, Int> & Sendable)
        case duration(WritableKeyPath<NodeConfiguration, Duration> & Sendable)
        case sync(WritableKeyPath<NodeConfiguration, CommitlogSync> & Sendable)
        case replay(WritableKeyPath<NodeConfiguration, CommitlogReplay> & Sendable)
    }

    /// The name as one word.
    private var underscored: String { String(name.map { $0 == "." ? "_" : $0 }) }

    /// A file path; may be empty.
    private static func file(_ name: String, _ path: WritableKeyPath<NodeConfiguration, String> & Sendable)
        -> ConfigurationKey
    {
        ConfigurationKey(name: name, place: .optionalText(path, isGood: { _ in true }, expected: "a path"))
    }

    private static func flag(_ name: String, _ path: WritableKeyPath<NodeConfiguration, Bool> & Sendable)
        -> ConfigurationKey
    {
        ConfigurationKey(name: name, place: .boolean(path))
    }

    /// The encryption keys, in the order of `conf/auspex.yaml`.
    private static let encryption: [ConfigurationKey] = [
        ConfigurationKey(
            name: "server_encryption_options.internode_encryption",
            place: .choice(\.serverEncryption.internodeEncryption, ["none", "rack", "dc", "all"])),
        flag("server_encryption_options.optional", \.serverEncryption.optional),
        file("server_encryption_options.keystore", \.serverEncryption.keystore),
        file("server_encryption_options.private_key", \.serverEncryption.privateKey),
        file("server_encryption_options.truststore", \.serverEncryption.truststore),
        flag("server_encryption_options.require_client_auth", \.serverEncryption.requireClientAuth),
        flag("server_encryption_options.require_endpoint_verification", \.serverEncryption.requireEndpointVerification),
        flag("client_encryption_options.enabled", \.clientEncryption.enabled),
        flag("client_encryption_options.optional", \.clientEncryption.optional),
        file("client_encryption_options.keystore", \.clientEncryption.keystore),
        file("client_encryption_options.private_key", \.clientEncryption.privateKey),
        file("client_encryption_options.truststore", \.clientEncryption.truststore),
        flag("client_encryption_options.require_client_auth", \.clientEncryption.requireClientAuth),
    ]

    private static func port(_ name: String, _ path: WritableKeyPath<NodeConfiguration, Int> & Sendable)
        -> ConfigurationKey
    {
        ConfigurationKey(name: name, place: .number(path, 0...65_535))
    }

    private static func count(
        _ name: String, _ path: WritableKeyPath<NodeConfiguration, Int> & Sendable, _ range: ClosedRange<Int>
    ) -> ConfigurationKey { ConfigurationKey(name: name, place: .number(path, range)) }

    private static func bytes(
        _ name: String, _ path: WritableKeyPath<NodeConfiguration, Int> & Sendable, _ range: ClosedRange<Int>
    ) -> ConfigurationKey { ConfigurationKey(name: name, place: .bytes(path, range)) }

    private static func time(_ name: String, _ path: WritableKeyPath<NodeConfiguration, Duration> & Sendable)
        -> ConfigurationKey
    {
        ConfigurationKey(name: name, place: .duration(path))
    }

    /// All keys, in the order of `conf/auspex.yaml`.
    public static let all: [ConfigurationKey] = beforeEncryption + encryption + afterEncryption

    private static let beforeEncryption: [ConfigurationKey] = [
        ConfigurationKey(name: "cluster_name", place: .text(\.clusterName)),
        ConfigurationKey(name: "data_center", place: .text(\.dataCenter)),
        ConfigurationKey(name: "rack", place: .text(\.rack)),
        ConfigurationKey(
            name: "endpoint_snitch",
            place: .className(\.endpointSnitch, ["SimpleSnitch", "GossipingPropertyFileSnitch", "PropertyFileSnitch"])),
        ConfigurationKey(name: "dynamic_snitch", place: .boolean(\.dynamicSnitch)),
        time("dynamic_snitch_update_interval", \.dynamicSnitchUpdateInterval),
        time("dynamic_snitch_reset_interval", \.dynamicSnitchResetInterval),
        ConfigurationKey(
            name: "dynamic_snitch_badness_threshold", place: .decimal(\.dynamicSnitchBadnessThreshold, 0...1000)),
        ConfigurationKey(
            name: "seeds",
            place: .optionalText(
                \.seeds, isGood: { NodeConfiguration.endpoints($0) != nil }, expected: "IP:PORT,... with no spaces")),
        ConfigurationKey(
            name: "replace_node",
            place: .optionalText(\.replaceNode, isGood: { UUID($0) != nil }, expected: "the host id of a dead member")
        ),
        ConfigurationKey(
            name: "token_strategy",
            place: .choice(\.tokenStrategy, ["equal_partitions", "random", "random_over_partitions"])),
        count("ring_partitions", \.ringPartitions, 1...1 << 16),
        count("num_tokens", \.numTokens, 1...1024),
        ConfigurationKey(name: "listen_address", place: .text(\.listenAddress)),
        port("native_transport_port", \.nativeTransportPort),
        port("line_port", \.linePort),
        port("storage_port", \.storagePort),
        ConfigurationKey(name: "http_address", place: .text(\.httpAddress)),
        port("http_port", \.httpPort),
        port("native_transport_port_ssl", \.nativeTransportPortSSL),
        ConfigurationKey(name: "internode_compression", place: .choice(\.internodeCompression, ["none", "dc", "all"])),
        bytes("internode_max_request_data_in_flight", \.internodeMaxRequestDataInFlight, 1 << 20...1 << 40),
        ConfigurationKey(name: "phi_convict_threshold", place: .decimal(\.phiConvictThreshold, 1...16)),
        ConfigurationKey(name: "hinted_handoff_enabled", place: .boolean(\.hintedHandoffEnabled)),
        time("max_hint_window", \.maxHintWindow),
        ConfigurationKey(name: "hinted_handoff_throttle", place: .bytesPerSecond(\.hintedHandoffThrottle)),
        bytes("max_hints_size_per_host", \.maxHintsSizePerHost, 1 << 20...1 << 44),
        time("hints_flush_period", \.hintsFlushPeriod),
        ConfigurationKey(name: "stream_entire_sstables", place: .boolean(\.streamEntireSSTables)),
        ConfigurationKey(name: "stream_throughput_outbound", place: .bytesPerSecond(\.streamThroughputOutbound)),
    ]

    private static let afterEncryption: [ConfigurationKey] = [
        ConfigurationKey(name: "data_directory", place: .text(\.dataDirectory)),
        count("loops", \.loops, 0...256),
        count("io_threads", \.ioThreads, 0...1024),
        bytes("memtable_space", \.memtableSpace, 1 << 20...1 << 44),
        bytes("cache_space", \.cacheSpace, 0...1 << 44),
        ConfigurationKey(name: "commitlog_sync", place: .sync(\.commitlogSync)),
        time("commitlog_sync_period", \.commitlogSyncPeriod),
        time("commitlog_sync_group_window", \.commitlogSyncGroupWindow),
        bytes("commitlog_segment_size", \.commitlogSegmentSize, 1 << 20...2047 << 20),
        bytes("commitlog_total_space", \.commitlogTotalSpace, 8 << 20...1 << 44),
        ConfigurationKey(name: "commitlog_replay", place: .replay(\.commitlogReplay)),
        ConfigurationKey(name: "compaction_throughput", place: .bytesPerSecond(\.compactionThroughput)),
        count("concurrent_compactors", \.concurrentCompactors, 1...64),
        time("read_request_timeout", \.queryLimits.readTimeout),
        time("range_request_timeout", \.queryLimits.rangeTimeout),
        time("request_timeout", \.queryLimits.requestTimeout),
        time("write_request_timeout", \.writeRequestTimeout),
        time("counter_write_request_timeout", \.counterWriteRequestTimeout),
        time("cas_contention_timeout", \.casContentionTimeout),
        time("truncate_request_timeout", \.truncateRequestTimeout),
        time("slow_query_log_timeout", \.queryLimits.slowQuery),
        count("tombstone_warn_threshold", \.queryLimits.tombstoneWarnThreshold, 0...Int(Int32.max)),
        count("tombstone_failure_threshold", \.queryLimits.tombstoneFailureThreshold, 0...Int(Int32.max)),
        bytes("batch_size_warn_threshold", \.queryLimits.batchSizeWarnThreshold, 0...1 << 31),
        bytes("batch_size_fail_threshold", \.queryLimits.batchSizeFailThreshold, 0...1 << 31),
        count(
            "unlogged_batch_across_partitions_warn_threshold",
            \.queryLimits.unloggedBatchAcrossPartitionsWarnThreshold,
            0...Int(Int32.max)),
        bytes("max_mutation_size", \.queryLimits.maxMutationSize, 1 << 10...1 << 30),
        bytes("max_value_size", \.queryLimits.maxValueSize, 1 << 10...2047 << 20),
        bytes("native_transport_max_frame_size", \.nativeTransportMaxFrameSize, 1 << 10...2047 << 20),
        count("native_transport_max_concurrent_connections", \.nativeTransportMaxConcurrentConnections, 1...1_000_000),
        bytes(
            "native_transport_max_request_data_in_flight", \.nativeTransportMaxRequestDataInFlight, 1 << 20...1 << 44),
        bytes(
            "native_transport_max_request_data_in_flight_per_connection",
            \.nativeTransportMaxRequestDataInFlightPerConnection,
            1 << 16...1 << 40),
        bytes("prepared_statements_cache_size", \.queryLimits.preparedStatementsCacheSize, 1 << 16...1 << 40),
        bytes("line_max_length", \.lineMaxLength, 1 << 10...1 << 30),
    ]

    /// Returns the key with that name.
    /// - Throws: `unknownKey` with the nearest known name.
    static func named(_ name: String, source: ConfigurationSource) throws(ConfigurationError) -> ConfigurationKey {
        if let key = all.first(where: { $0.name == name }) { return key }
        // Names of environment variables cannot contain dots.
        if case .environment = source, let key = all.first(where: { $0.underscored == name }) { return key }
        throw .unknownKey(name, nearest: NearestName.of(name, among: all.map(\.name)), source: source)
    }

    /// The key's value in `configuration`, as in YAML.
    public func text(in configuration: NodeConfiguration) -> String {
        switch place {
        case .text(let path), .optionalText(let path, _, _), .choice(let path, _), .className(let path, _):
            configuration[keyPath: path]
        case .boolean(let path): configuration[keyPath: path] ? "true" : "false"
        case .decimal(let path, _): "\(configuration[keyPath: path])"
        case .number(let path, _): String(configuration[keyPath: path])
        case .bytes(let path, _): Quantity.text(bytes: configuration[keyPath: path])
        case .bytesPerSecond(let path): Quantity.text(bytes: configuration[keyPath: path]) + "/s"
        case .duration(let path): Quantity.text(duration: configuration[keyPath: path])
        case .sync(let path): configuration[keyPath: path].rawValue
        case .replay(let path): configuration[keyPath: path].rawValue
        }
    }

    /// Parses `text` and sets the key's value in `configuration`.
    func set(_ text: String, in configuration: inout NodeConfiguration, source: ConfigurationSource)
        throws(ConfigurationError)
    {
        func refuse(_ expected: String) -> ConfigurationError {
            .invalidValue(key: name, value: text, expected: expected, source: source)
        }
        switch place {
        case .text(let path):
            guard !text.isEmpty else { throw refuse("a text that is not empty") }
            configuration[keyPath: path] = text
        case .optionalText(let path, let isGood, let expected):
            guard text.isEmpty || isGood(text) else { throw refuse(expected) }
            configuration[keyPath: path] = text
        case .choice(let path, let choices):
            guard choices.contains(text) else { throw refuse("one of " + choices.joined(separator: ", ")) }
            configuration[keyPath: path] = text
        case .className(let path, let names):
            let package = "org.apache.cassandra.locator."
            let name = text.hasPrefix(package) ? String(text.dropFirst(package.count)) : text
            guard names.contains(name) else { throw refuse("one of " + names.joined(separator: ", ")) }
            configuration[keyPath: path] = name
        case .boolean(let path):
            guard text == "true" || text == "false" else { throw refuse("true or false") }
            configuration[keyPath: path] = text == "true"
        case .decimal(let path, let range):
            guard let value = Double(text), range.contains(value) else {
                throw refuse("a number from \(range.lowerBound) to \(range.upperBound)")
            }
            configuration[keyPath: path] = value
        case .number(let path, let range):
            guard let value = Int(text), range.contains(value) else {
                throw refuse("a whole number from \(range.lowerBound) to \(range.upperBound)")
            }
            configuration[keyPath: path] = value
        case .bytes(let path, let range):
            guard let value = Quantity.bytes(text), range.contains(value) else {
                throw refuse(
                    "a size from \(Quantity.text(bytes: range.lowerBound)) to \(Quantity.text(bytes: range.upperBound)), such as 32MiB"
                )
            }
            configuration[keyPath: path] = value
        case .bytesPerSecond(let path):
            let size = text.hasSuffix("/s") ? String(text.dropLast(2)) : text
            guard let value = Quantity.bytes(size) else { throw refuse("a rate, such as 64MiB/s; 0 is unlimited") }
            configuration[keyPath: path] = value
        case .duration(let path):
            guard let value = Quantity.duration(text) else {
                throw refuse("a duration with its unit, such as 500ms, 10s or 2m")
            }
            configuration[keyPath: path] = value
        case .sync(let path):
            guard let value = CommitlogSync(rawValue: text) else { throw refuse("periodic, group or batch") }
            configuration[keyPath: path] = value
        case .replay(let path):
            guard let value = CommitlogReplay(rawValue: text) else { throw refuse("strict or skip") }
            configuration[keyPath: path] = value
        }
    }
}
