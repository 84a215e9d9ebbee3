import Primitives

/// Splits a connection's bytes into frames.
///
/// 1. With v4, and with v5 before the handshake is complete, frames follow each other: a header of nine bytes, then the
///    body.
/// 2. After the handshake, v5 wraps frames in checksummed segments (`FrameDecoder+Segments`).
///
/// A frame that is contiguous and uncompressed in the input is returned without a copy. The caller keeps one contiguous
/// buffer and calls `next` until it returns nil; then it drops the first `consumed` bytes and appends what arrives.
///
/// A frame with a body longer than `maxFrameBytes` is returned without the body, after the body has arrived and been
/// skipped. So the sender can get an error and the frames after it are still read. A body beyond the protocol's own
/// limit is a protocol error.
///
/// **Thread safety**: one owner. **Invariants**: never holds more than `maxFrameBytes` and one segment; `segmentLeft >
/// 0` only between two frames of one segment of the input.
public struct FrameDecoder: ~Copyable, Sendable {
    /// What is decoded: requests on a server, responses on a client.
    public enum Direction: Sendable { case requests, responses }

    /// Cassandra's default limit for a request, in bytes.
    public static let defaultMaxFrameBytes = 16 << 20
    /// The protocol's own limit, in bytes.
    public static let absoluteMaxFrameBytes = 256 << 20
    /// Larger buffers are freed after use.
    static let keptBufferBytes = 1 << 20

    /// The maximum length of a body, in bytes.
    public let maxFrameBytes: Int
    let direction: Direction
    /// The compression of bodies (v4) or segments (v5); set once STARTUP negotiated it.
    public var compression: FrameCompression = .none
    /// The connection's version; known from its first frame on.
    public internal(set) var version: ProtocolVersion?
    /// Whether the input consists of v5 segments.
    public private(set) var isSegmented = false

    /// The payload bytes of the current segment that are still in the input, before its CRC32.
    var segmentLeft = 0
    /// A decompressed body, or the payload of a compressed segment, of which `inflatedOffset` bytes are read.
    var inflated = ByteWriter(capacity: 16)
    var inflatedOffset = 0
    /// The parts received of a frame larger than a segment.
    var assembly = ByteWriter(capacity: 16)
    var assemblyIsDelivered = false
    /// The header of an oversized frame whose body is being skipped; `skipLeft` is the number of bytes still to skip.
    public internal(set) var skipped: FrameHeader?
    var skipLeft = 0

    public init(direction: Direction = .requests, maxFrameBytes: Int = FrameDecoder.defaultMaxFrameBytes) {
        self.direction = direction
        self.maxFrameBytes = min(max(maxFrameBytes, 1024), FrameDecoder.absoluteMaxFrameBytes)
    }

    /// Switches to v5 segments from the next byte on; call it after READY or AUTHENTICATE was sent or received.
    public mutating func beginSegments(compression: FrameCompression) {
        isSegmented = true
        self.compression = compression
    }

    /// Returns the next frame of `input` after the first `consumed` bytes, and advances `consumed`.
    ///
    /// Returns nil when more bytes are needed. The caller then passes the bytes from `consumed` on again, followed by
    /// more.
    public mutating func next(_ input: UnsafeRawBufferPointer, consumed: inout Int) throws(ProtocolError) -> Frame? {
        if isSegmented { return try nextInSegments(input, consumed: &consumed) }
        if skipped != nil { return skip(input, &consumed) }
        let available = input.count - consumed
        guard let header = try header(input, at: consumed, available: available) else { return nil }
        if header.length > maxFrameBytes {
            consumed += FrameHeader.size
            skipped = header
            skipLeft = header.length
            return skip(input, &consumed)
        }
        guard available - FrameHeader.size >= header.length else { return nil }
        let start = consumed + FrameHeader.size
        let body = UnsafeRawBufferPointer(rebasing: input[start..<start + header.length])
        consumed = start + header.length
        guard header.flags & FrameFlag.compressed != 0, header.length > 0 else {
            return Frame(header: header, body: body)
        }
        resetInflated()
        if let length = try compression.decompressBody(
            body, limit: maxFrameBytes, stream: header.stream, into: &inflated)
        {
            return withoutBody(header, length: length)
        }
        return Frame(header: header, body: inflated.bytes)
    }

    /// Skips what has arrived of an oversized body; returns its frame once all is skipped.
    private mutating func skip(_ input: UnsafeRawBufferPointer, _ consumed: inout Int) -> Frame? {
        let here = min(skipLeft, input.count - consumed)
        consumed += here
        skipLeft -= here
        return skippedFrame()
    }

    /// Returns the frame of an oversized body once all of the body is skipped.
    mutating func skippedFrame() -> Frame? {
        guard skipLeft == 0, let header = skipped else { return nil }
        skipped = nil
        return withoutBody(header, length: header.length)
    }

    func withoutBody(_ header: FrameHeader, length: Int) -> Frame {
        Frame(
            header: header, body: UnsafeRawBufferPointer(start: nil, count: 0),
            oversize: Frame.Oversize(length: length, limit: maxFrameBytes))
    }

    /// Returns the validated header at `offset`; nil when it has not fully arrived. An unsupported version is refused
    /// as soon as the stream id has arrived.
    mutating func header(
        _ bytes: UnsafeRawBufferPointer, at offset: Int, available: Int
    ) throws(ProtocolError) -> FrameHeader? {
        guard available >= 1 else { return nil }
        let first = bytes[offset]
        let isResponse = first & 0x80 != 0
        guard let version = ProtocolVersion(rawValue: first & 0x7F) else {
            // Versions 1 and 2 have one byte of stream id; later ones have two.
            let old = first & 0x7F < 3
            guard available >= (old ? 3 : 4) else { return nil }
            let stream =
                old
                ? Int16(Int8(bitPattern: bytes[offset + 2]))
                : Int16(bigEndian: bytes.loadUnaligned(fromByteOffset: offset + 2, as: Int16.self))
            throw .unsupportedVersion(first & 0x7F, stream: stream)
        }
        guard available >= FrameHeader.size else { return nil }
        let header = FrameHeader(
            version: version, isResponse: isResponse, flags: bytes[offset + 1],
            stream: Int16(bigEndian: bytes.loadUnaligned(fromByteOffset: offset + 2, as: Int16.self)),
            rawOpcode: bytes[offset + 4],
            length: Int(UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset + 5, as: UInt32.self))))
        guard isResponse == (direction == .responses) else { throw .wrongDirection(stream: header.stream) }
        if let agreed = self.version, direction == .requests, agreed != version {
            throw .versionChanged(expected: agreed, found: version, stream: header.stream)
        }
        guard header.length <= FrameDecoder.absoluteMaxFrameBytes else {
            throw .frameTooLarge(
                length: header.length, limit: FrameDecoder.absoluteMaxFrameBytes, stream: header.stream)
        }
        self.version = version
        return header
    }

    mutating func resetInflated() {
        if inflated.count > FrameDecoder.keptBufferBytes {
            inflated = ByteWriter(capacity: 16)
        } else {
            inflated.removeAll()
        }
        inflatedOffset = 0
    }
}
