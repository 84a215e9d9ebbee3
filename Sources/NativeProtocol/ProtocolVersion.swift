/// The supported versions of the CQL binary protocol.
public enum ProtocolVersion: UInt8, Sendable, CaseIterable, Comparable {
    case v4 = 4
    case v5 = 5

    /// The form used in the SUPPORTED message.
    public var description: String { "\(rawValue)/v\(rawValue)" }

    /// The version of the error frame that refuses version `requested`: the nearest supported one, which most clients
    /// can read.
    public static func answering(_ requested: UInt8) -> ProtocolVersion {
        requested <= ProtocolVersion.v4.rawValue ? .v4 : .v5
    }

    public static func < (a: ProtocolVersion, b: ProtocolVersion) -> Bool { a.rawValue < b.rawValue }
}
