import DataModel
import Primitives

/// What every response carries beside its body.
public struct ResponseHead: Sendable {
    public var stream: Int16
    /// Set when the request asked for tracing.
    public var tracingID: UUID?
    public var warnings: [String]

    public init(stream: Int16, tracingID: UUID? = nil, warnings: [String] = []) {
        self.stream = stream
        self.tracingID = tracingID
        self.warnings = warnings
    }
}

/// Appends responses to a connection's outgoing bytes: header, body, then the length patched into the header.
///
/// With v5 the bytes go through a `SegmentEncoder` afterwards, all frames of one flush at once. With v4 a body worth it is compressed here.
///
/// **Thread safety**: one owner.
public struct ResponseEncoder: ~Copyable, Sendable {
    /// Bodies shorter than this are not worth compressing.
    public static let minCompressedBytes = 512

    public var version: ProtocolVersion
    /// Only looked at with v4.
    public var compression: FrameCompression = .none
    private var scratch = ByteWriter(capacity: 16)

    public init(version: ProtocolVersion) { self.version = version }

    /// Writes the header and what the head carries; returns where the frame begins.
    func begin(_ opcode: Opcode, _ head: ResponseHead, into out: inout ByteWriter) -> Int {
        let start = out.count
        out.reserve(64)
        var flags: UInt8 = 0
        if head.tracingID != nil { flags |= FrameFlag.tracing }
        if !head.warnings.isEmpty { flags |= FrameFlag.warning }
        out.write(version.rawValue | 0x80)
        out.write(flags)
        out.writeBE(head.stream)
        out.write(opcode.rawValue)
        out.writeBE(UInt32(0))
        if let id = head.tracingID {
            out.writeBE(id.high)
            out.writeBE(id.low)
        }
        if !head.warnings.isEmpty { out.writeStringList(head.warnings) }
        return start
    }

    /// Patches the length of the frame that began at `start`, and compresses its body when that is agreed on and worth it.
    mutating func finish(_ start: Int, into out: inout ByteWriter) {
        let bodyStart = start + FrameHeader.size
        let length = out.count - bodyStart
        if compression != .none, version == .v4, length >= ResponseEncoder.minCompressedBytes {
            scratch.removeAll()
            let body = UnsafeRawBufferPointer(rebasing: out.bytes[bodyStart...])
            if compression.compressBody(body, into: &scratch), scratch.count < length {
                out.truncate(to: bodyStart)
                out.write(scratch.bytes)
                let flags = out.bytes[start + 1] | FrameFlag.compressed
                out.patchBE(flags, at: start + 1)
            }
            if scratch.count > FrameDecoder.keptBufferBytes { scratch = ByteWriter(capacity: 16) }
        }
        out.patchBE(UInt32(out.count - bodyStart), at: start + 5)
    }

    public mutating func ready(_ head: ResponseHead, into out: inout ByteWriter) {
        let start = begin(.ready, head, into: &out)
        finish(start, into: &out)
    }

    /// - Parameter authenticator: the class drivers know, such as `org.apache.cassandra.auth.PasswordAuthenticator`.
    public mutating func authenticate(_ authenticator: String, _ head: ResponseHead, into out: inout ByteWriter) {
        let start = begin(.authenticate, head, into: &out)
        out.writeString(authenticator)
        finish(start, into: &out)
    }

    public mutating func authSuccess(_ token: [UInt8]?, _ head: ResponseHead, into out: inout ByteWriter) {
        let start = begin(.authSuccess, head, into: &out)
        out.writeBytes(token)
        finish(start, into: &out)
    }

    /// The answer to OPTIONS: what this protocol implementation supports, and the version of CQL behind it.
    public mutating func supported(cqlVersion: String, _ head: ResponseHead, into out: inout ByteWriter) {
        let start = begin(.supported, head, into: &out)
        out.writeBE(UInt16(3))
        out.writeString("PROTOCOL_VERSIONS")
        out.writeStringList(ProtocolVersion.allCases.map(\.description))
        out.writeString("COMPRESSION")
        out.writeStringList(["snappy", "lz4"])
        out.writeString("CQL_VERSION")
        out.writeStringList([cqlVersion])
        finish(start, into: &out)
    }

    /// The answer to bytes that are not the protocol; the connection closes after it. Goes out unsegmented unless segments have begun.
    public static func refusal(_ error: ProtocolError, version: ProtocolVersion?, into out: inout ByteWriter) {
        var answering = version ?? .v4
        if case .unsupportedVersion(let requested, _) = error { answering = .answering(requested) }
        var encoder = ResponseEncoder(version: answering)
        encoder.error(error.serverError, ResponseHead(stream: error.stream), into: &out)
    }

    public mutating func event(_ event: ServerEvent, into out: inout ByteWriter) {
        let start = begin(.event, ResponseHead(stream: -1), into: &out)
        out.writeString(event.kind.rawValue)
        switch event {
        case .topology(let change, let endpoint):
            out.writeString(change.rawValue)
            write(endpoint, into: &out)
        case .status(let status, let endpoint):
            out.writeString(status.rawValue)
            write(endpoint, into: &out)
        case .schema(let change): write(change, into: &out)
        }
        finish(start, into: &out)
    }

    private func write(_ endpoint: ServerEvent.Endpoint, into out: inout ByteWriter) {
        out.write(UInt8(endpoint.address.count))
        out.write(endpoint.address)
        out.writeBE(endpoint.port)
    }

    func write(_ change: SchemaChange, into out: inout ByteWriter) {
        out.writeString(change.kind.rawValue)
        out.writeString(change.target.rawValue)
        out.writeString(change.keyspace)
        if change.target != .keyspace { out.writeString(change.name) }
    }
}
