/// The compression options of a table's sstables.
public struct CompressionOptions: Sendable, Hashable {
    public enum Compressor: String, Sendable, CaseIterable {
        case lz4 = "LZ4Compressor"
        case snappy = "SnappyCompressor"
        case deflate = "DeflateCompressor"
        case zstd = "ZstdCompressor"
        case none = "NoopCompressor"
    }

    public var isEnabled = true
    public var compressor = Compressor.lz4
    public var chunkLengthKiB = 16
    /// Blocks whose compressed size exceeds `1 / minCompressRatio` of their size are stored uncompressed; 0: always
    /// compressed.
    public var minCompressRatio = 0.0
    /// The compressor's own options: `compression_level`, `lz4_compressor_type`, `lz4_high_compressor_level`.
    public private(set) var options: [String: String] = [:]

    public init() {}

    public static let package = "org.apache.cassandra.io.compress."

    /// The Zstandard level; 3 unless given.
    public var level: Int { options["compression_level"].flatMap { Int($0) } ?? 3 }

    /// All sub-options, as `system_schema.tables.compression` shows them.
    public var map: [String: String] {
        guard isEnabled else { return ["enabled": "false"] }
        var map = options
        map["chunk_length_in_kb"] = String(chunkLengthKiB)
        map["class"] = Self.package + compressor.rawValue
        if minCompressRatio != 0 { map["min_compress_ratio"] = JavaNumber.text(minCompressRatio) }
        return map
    }

    init(_ map: [String: String]) throws(ServerError) {
        func fail(_ message: String) -> ServerError { ServerError(.configError, message) }
        var rest = map
        if let enabled = rest.removeValue(forKey: "enabled"), enabled.lowercased() != "true" {
            guard rest.isEmpty else {
                throw fail("If the 'enabled' option is set to false no other options must be specified")
            }
            isEnabled = false
            return
        }
        // An empty map, or an empty class, turns compression off, as in releases without `enabled`.
        if rest.isEmpty && map["enabled"] == nil || rest["sstable_compression"] == "" {
            isEnabled = false
            return
        }
        guard let name = rest.removeValue(forKey: "class") ?? rest.removeValue(forKey: "sstable_compression") else {
            throw fail("Missing sub-option 'class' for the 'compression' option.")
        }
        guard !name.isEmpty else {
            throw fail("The 'class' option must not be empty. To disable compression use 'enabled' : false")
        }
        let simple = name.hasPrefix(Self.package) ? String(name.dropFirst(Self.package.count)) : name
        guard let compressor = Compressor(rawValue: simple) else {
            throw fail("Could not create Compression for type \(name.contains(".") ? name : Self.package + name)")
        }
        self.compressor = compressor
        if let text = rest.removeValue(forKey: "chunk_length_in_kb") ?? rest.removeValue(forKey: "chunk_length_kb") {
            guard let length = Int32(text) else { throw fail("Invalid value for chunk_length_in_kb") }
            guard length > 0 else { throw fail("Invalid negative or null chunk_length_in_kb") }
            guard length & (length - 1) == 0, length <= 1024 else {
                throw fail("chunk_length_in_kb must be a power of 2")
            }
            chunkLengthKiB = Int(length)
        }
        if let text = rest.removeValue(forKey: "min_compress_ratio") {
            guard let ratio = Double(text), ratio == 0 || ratio >= 1 else {
                throw fail("min_compress_ratio can either be 0 or greater than or equal to 1")
            }
            minCompressRatio = ratio
        }
        // Now a table option of its own; still accepted here.
        rest["crc_check_chance"] = nil
        for (option, value) in rest.sorted(by: { $0.key < $1.key }) {
            switch (option, compressor) {
            case ("compression_level", .zstd):
                guard let level = Int(value), (-131_072...22).contains(level) else {
                    throw fail("compression_level=\(value) is invalid: it must be between -131072 and 22")
                }
            case ("lz4_compressor_type", .lz4):
                guard value == "fast" || value == "high" else {
                    throw fail(
                        "Invalid compressor type '\(value)' specified for LZ4 parameter 'lz4_compressor_type'. Valid options are [fast, high]."
                    )
                }
            case ("lz4_high_compressor_level", .lz4):
                guard let level = Int(value), (1...17).contains(level) else {
                    throw fail(
                        "Invalid value [\(value)] for parameter 'lz4_high_compressor_level'. Value must be between 1 and 17."
                    )
                }
            default: throw fail("Unknown compression options: ([\(option)])")
            }
        }
        options = rest
    }
}
