import DataModel

/// A violation of the protocol. The bytes after it cannot be interpreted, so the connection sends an error and closes.
public enum ProtocolError: Error, Sendable, Equatable {
    /// The protocol version is not supported.
    case unsupportedVersion(UInt8, stream: Int16)
    /// The version differs from that of the connection's first frame.
    case versionChanged(expected: ProtocolVersion, found: ProtocolVersion, stream: Int16)
    /// A response was sent to a server, or a request to a client.
    case wrongDirection(stream: Int16)
    /// A body exceeds the protocol's limit, or the limit before STARTUP.
    case frameTooLarge(length: Int, limit: Int, stream: Int16)
    /// A body is compressed although no compression was negotiated.
    case compressionNotNegotiated(stream: Int16)
    /// A compressed body or segment does not decompress to the stated length.
    case malformedCompression(String, stream: Int16)
    /// The header of a v5 segment does not match its CRC24.
    case segmentHeaderChecksum(expected: UInt32, found: UInt32)
    /// The payload of a v5 segment does not match its CRC32.
    case segmentPayloadChecksum(expected: UInt32, found: UInt32)
    /// Frames do not fit the segments that contain them.
    case malformedSegment(String)

    /// The stream id for the error; 0 when unknown.
    public var stream: Int16 {
        switch self {
        case .unsupportedVersion(_, let stream), .versionChanged(_, _, let stream), .wrongDirection(let stream),
            .frameTooLarge(_, _, let stream), .compressionNotNegotiated(let stream),
            .malformedCompression(_, let stream):
            stream
        case .segmentHeaderChecksum, .segmentPayloadChecksum, .malformedSegment: 0
        }
    }

    /// The error to send before closing.
    public var serverError: ServerError { ServerError(.protocolError, message) }

    /// The error message.
    public var message: String {
        switch self {
        case .unsupportedVersion(let version, _):
            // Drivers look for "unsupported protocol version" to retry with a lower version.
            return "Invalid or unsupported protocol version (\(version)); supported versions are ("
                + ProtocolVersion.allCases.map(\.description).joined(separator: ", ") + ")"
        case .versionChanged(let expected, let found, _):
            return
                "Invalid message version. Got \(found.description) but previous messages on this connection had version "
                + expected.description
        case .wrongDirection:
            return "Wrong protocol direction: expected the other value of the direction bit in the frame's first byte"
        case .frameTooLarge(let length, let limit, _): return Frame.Oversize(length: length, limit: limit).message
        case .compressionNotNegotiated: return "Compressed frame on a connection whose STARTUP did not set COMPRESSION"
        case .malformedCompression(let reason, _): return "Compressed data cannot be read: \(reason)"
        case .segmentHeaderChecksum(let expected, let found):
            return "Segment header is corrupt: CRC24 \(hex(found)) found, \(hex(expected)) expected"
        case .segmentPayloadChecksum(let expected, let found):
            return "Segment payload is corrupt: CRC32 \(hex(found)) found, \(hex(expected)) expected"
        case .malformedSegment(let reason): return "Malformed segment: \(reason)"
        }
    }

    private func hex(_ value: UInt32) -> String { "0x" + String(value, radix: 16) }
}
