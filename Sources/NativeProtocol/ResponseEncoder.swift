import DataModel
import Primitives

/// The fields common to all responses.
public struct ResponseHead: Sendable {
    public var stream: Int16
    /// The tracing session; set when the request asked for tracing.
    public var tracingID: UUID?
    public var warnings: [String]

    public init(stream: Int16, tracingID: UUID? = nil, warnings: [String] = []) {
        self.stream = stream
        self.tracingID = tracingID
        self.warnings = warnings
    }
}

/// Appends responses to a connection's outgoing bytes.
///
/// With v5, pass the frames of one flush through a `SegmentEncoder` afterwards. With v4, large bodies are compressed
/// here.
///
/// **Thread safety**: one owner.
public struct ResponseEncoder: ~Copyable, Sendable {
    /// Shorter bodies are not compressed.
    public static let minCompressedBytes = 512

    public var version: ProtocolVersion
    /// The compression of bodies; used only with v4.
    public var compression: FrameCompression = .none
    private var scratch = ByteWriter(capacity: 16)

    public init(version: ProtocolVersion) { self.version = version }

    /// Writes the header, tracing id and warnings; returns the offset of the frame.
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

    /// Completes the frame at offset `start`: compresses its body if negotiated and worthwhile, and sets its length.
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

    /// - Parameter authenticator: a Java class name that drivers know, such as
    ///   `org.apache.cassandra.auth.PasswordAuthenticator`.
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

    /// Appends the response to OPTIONS: the supported protocol versions, compressions and CQL version.
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

    /// Appends the error for a protocol violation, after which the connection closes. The caller wraps it in segments
    /// if those have begun.
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
