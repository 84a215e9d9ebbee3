import DataModel

/// The options of a STARTUP message.
public struct StartupOptions: Sendable, Equatable {
    /// All options; the keys are in upper case.
    public var all: [String: String]

    public init(all: [String: String]) { self.all = all }

    public var cqlVersion: String? { all["CQL_VERSION"] }
    public var compression: String? { all["COMPRESSION"] }
    public var driverName: String? { all["DRIVER_NAME"] }
    public var driverVersion: String? { all["DRIVER_VERSION"] }

    /// Returns the requested compression. Throws when this protocol version does not support it.
    public func agreedCompression(_ version: ProtocolVersion) throws(ServerError) -> FrameCompression {
        guard let name = compression else { return .none }
        guard let agreed = FrameCompression(name: name, version: version) else {
            let known = version == .v4 ? "lz4, snappy" : "lz4"
            throw ServerError(
                .protocolError,
                "Unknown compression algorithm: \(name); protocol \(version.description) supports \(known)")
        }
        return agreed
    }
}

/// A decoded request. Texts and ids are ranges of the frame's body, so that decoding copies only values.
public enum Request: Sendable, Equatable {
    case startup(StartupOptions)
    case options
    case authResponse([UInt8]?)
    case register([ServerEvent.Kind])
    /// The CQL text; the parameters are in the decoder's `options`.
    case query(text: Range<Int>)
    /// The CQL text; in v5 optionally the keyspace of unqualified names.
    case prepare(text: Range<Int>, keyspace: String?)
    /// The statement's id, and in v5 the id of the client's result metadata; the parameters are in the decoder's
    /// `options`.
    case execute(id: Range<Int>, resultMetadataID: Range<Int>?)
    /// The statements are in the decoder's `batch`, the parameters in its `options`.
    case batch
}
