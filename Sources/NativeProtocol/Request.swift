import DataModel

/// What a STARTUP asks for.
public struct StartupOptions: Sendable, Equatable {
    /// All options, keys in upper case.
    public var all: [String: String]

    public init(all: [String: String]) { self.all = all }

    public var cqlVersion: String? { all["CQL_VERSION"] }
    public var compression: String? { all["COMPRESSION"] }
    public var driverName: String? { all["DRIVER_NAME"] }
    public var driverVersion: String? { all["DRIVER_VERSION"] }

    /// What to compress with; an error when the client asks for what this version has not.
    public func agreedCompression(_ version: ProtocolVersion) throws(ServerError) -> FrameCompression {
        guard let name = compression else { return .none }
        guard let agreed = FrameCompression(name: name, version: version) else {
            let known = version == .v4 ? "lz4, snappy" : "lz4"
            throw ServerError(.protocolError, "Unknown compression algorithm: \(name); protocol \(version.description) has \(known)")
        }
        return agreed
    }
}

/// A request, its texts and ids as places in the frame's body, so that decoding copies nothing but values.
public enum Request: Sendable, Equatable {
    case startup(StartupOptions)
    case options
    case authResponse([UInt8]?)
    case register([ServerEvent.Kind])
    /// The CQL text; the rest is in the decoder's `options`.
    case query(text: Range<Int>)
    /// The CQL text; v5 may name a keyspace for it.
    case prepare(text: Range<Int>, keyspace: String?)
    /// The statement's id, and in v5 the id of the result metadata the client knows; the rest is in the decoder's `options`.
    case execute(id: Range<Int>, resultMetadataID: Range<Int>?)
    /// In the decoder's `batch` and `options`.
    case batch
}
