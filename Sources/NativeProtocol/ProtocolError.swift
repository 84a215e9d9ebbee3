import DataModel

/// Bytes that are not the protocol: nothing after them on the same connection can be trusted, so the connection answers and closes.
public enum ProtocolError: Error, Sendable, Equatable {
    /// The first byte names a version nobody here speaks.
    case unsupportedVersion(UInt8, stream: Int16)
    /// A frame of another version than the one this connection began with.
    case versionChanged(expected: ProtocolVersion, found: ProtocolVersion, stream: Int16)
    /// A response where requests are read, or the reverse.
    case wrongDirection(stream: Int16)
    /// A body longer than the protocol allows, or than is accepted before anything is agreed on.
    case frameTooLarge(length: Int, limit: Int, stream: Int16)
    /// A compressed body on a connection that agreed on no compression.
    case compressionNotNegotiated(stream: Int16)
    /// A compressed body or segment that does not decompress to what it claims.
    case malformedCompression(String, stream: Int16)
    /// A v5 segment whose header does not match its CRC24.
    case segmentHeaderChecksum(expected: UInt32, found: UInt32)
    /// A v5 segment whose payload does not match its CRC32.
    case segmentPayloadChecksum(expected: UInt32, found: UInt32)
    /// Frames that do not fit the segments that carry them.
    case malformedSegment(String)

    /// The stream the answer goes to; 0 when the bytes do not tell.
    public var stream: Int16 {
        switch self {
        case .unsupportedVersion(_, let stream), .versionChanged(_, _, let stream), .wrongDirection(let stream),
            .frameTooLarge(_, _, let stream), .compressionNotNegotiated(let stream), .malformedCompression(_, let stream):
            stream
        case .segmentHeaderChecksum, .segmentPayloadChecksum, .malformedSegment: 0
        }
    }

    /// The error to answer with before closing.
    public var serverError: ServerError { ServerError(.protocolError, message) }

    /// What happened and what to do about it.
    public var message: String {
        switch self {
        case .unsupportedVersion(let version, _):
            // Drivers look for the words "unsupported protocol version" to try the next lower one.
            return "Invalid or unsupported protocol version (\(version)); supported versions are ("
                + ProtocolVersion.allCases.map(\.description).joined(separator: ", ") + ")"
        case .versionChanged(let expected, let found, _):
            return "Invalid message version. Got \(found.description) but previous messages on this connection had version "
                + expected.description
        case .wrongDirection: return "Wrong protocol direction: the direction bit of the frame's first byte does not fit this side"
        case .frameTooLarge(let length, let limit, _): return Frame.Oversize(length: length, limit: limit).message
        case .compressionNotNegotiated: return "Compressed frame on a connection whose STARTUP named no COMPRESSION"
        case .malformedCompression(let reason, _): return "Compressed data cannot be read: \(reason)"
        case .segmentHeaderChecksum(let expected, let found):
            return "Segment header is corrupt: CRC24 \(hex(found)) where \(hex(expected)) was computed"
        case .segmentPayloadChecksum(let expected, let found):
            return "Segment payload is corrupt: CRC32 \(hex(found)) where \(hex(expected)) was computed"
        case .malformedSegment(let reason): return "Malformed segment: \(reason)"
        }
    }

    private func hex(_ value: UInt32) -> String { "0x" + String(value, radix: 16) }
}
