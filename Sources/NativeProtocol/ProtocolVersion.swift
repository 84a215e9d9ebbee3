/// A version of the CQL binary protocol this project speaks.
public enum ProtocolVersion: UInt8, Sendable, CaseIterable, Comparable {
    case v4 = 4
    case v5 = 5

    /// As the SUPPORTED message lists it.
    public var description: String { "\(rawValue)/v\(rawValue)" }

    /// The version of the error that refuses `requested`: the nearest one spoken, so that most clients can read it.
    public static func answering(_ requested: UInt8) -> ProtocolVersion { requested <= ProtocolVersion.v4.rawValue ? .v4 : .v5 }

    public static func < (a: ProtocolVersion, b: ProtocolVersion) -> Bool { a.rawValue < b.rawValue }
}
