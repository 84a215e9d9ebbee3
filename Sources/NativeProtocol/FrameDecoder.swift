import Primitives

/// Cuts a connection's bytes into frames.
///
/// 1. Before the handshake of v5, and always with v4, frames follow each other: a header of nine bytes, a body.
/// 2. After it, v5 wraps them in checksummed segments (`FrameDecoder+Segments`).
///
/// A frame that stands whole and uncompressed in the input is handed out as it stands there, without a copy. The caller keeps one contiguous
/// buffer, calls `next` until it returns nil, and then drops the first `consumed` bytes and appends what arrives.
///
/// A frame whose body is longer than `maxFrameBytes` is handed out without it, once that has been skipped as it arrived: who sent it can be
/// told, and the frames after it are read. One beyond the protocol's own limit is no frame at all.
///
/// **Thread safety**: one owner. **Invariants**: never holds more than `maxFrameBytes` and one segment; `segmentLeft > 0` only between two
/// frames of one segment of the input.
public struct FrameDecoder: ~Copyable, Sendable {
    /// Who sends what is decoded here.
    public enum Direction: Sendable { case requests, responses }

    /// Cassandra's default for a request.
    public static let defaultMaxFrameBytes = 16 << 20
    /// The protocol's own limit.
    public static let absoluteMaxFrameBytes = 256 << 20
    /// Buffers that grew past this are given back after the frame that needed them.
    static let keptBufferBytes = 1 << 20

    /// The longest body accepted, in bytes.
    public let maxFrameBytes: Int
    let direction: Direction
    /// How bodies (v4) or segments (v5) are compressed; set once STARTUP agreed on it.
    public var compression: FrameCompression = .none
    /// The version of the connection, known from its first frame on.
    public internal(set) var version: ProtocolVersion?
    /// Whether v5 segments are read.
    public private(set) var isSegmented = false

    /// Payload bytes of the current segment that still stand in the input, before its CRC32.
    var segmentLeft = 0
    /// A decompressed body, or the payload of a compressed segment, read from `inflatedOffset` on.
    var inflated = ByteWriter(capacity: 16)
    var inflatedOffset = 0
    /// The parts of a frame larger than a segment.
    var assembly = ByteWriter(capacity: 16)
    var assemblyIsDelivered = false
    /// A frame whose body is too long, and bytes of it still to come.
    public internal(set) var skipped: FrameHeader?
    var skipLeft = 0

    public init(direction: Direction = .requests, maxFrameBytes: Int = FrameDecoder.defaultMaxFrameBytes) {
        self.direction = direction
        self.maxFrameBytes = min(max(maxFrameBytes, 1024), FrameDecoder.absoluteMaxFrameBytes)
    }

    /// From the next byte on, v5 segments: called after READY or AUTHENTICATE went out or came in.
    public mutating func beginSegments(compression: FrameCompression) {
        isSegmented = true
        self.compression = compression
    }

    /// The next frame of `input`, of which the first `consumed` bytes are done with; moves `consumed`.
    ///
    /// Returns nil when more bytes are needed; the caller then presents those from `consumed` on again, followed by more.
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
        guard header.flags & FrameFlag.compressed != 0, header.length > 0 else { return Frame(header: header, body: body) }
        resetInflated()
        if let length = try compression.decompressBody(body, limit: maxFrameBytes, stream: header.stream, into: &inflated) {
            return withoutBody(header, length: length)
        }
        return Frame(header: header, body: inflated.bytes)
    }

    /// Leaves out what has arrived of a body that is too long; its frame when that was all of it.
    private mutating func skip(_ input: UnsafeRawBufferPointer, _ consumed: inout Int) -> Frame? {
        let here = min(skipLeft, input.count - consumed)
        consumed += here
        skipLeft -= here
        return skippedFrame()
    }

    /// The frame whose body was too long, when all of that has been left out.
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

    /// Bytes the connection needs in its buffer before `next` can return more; 0 when unknown. A hint for growing it once.
    public func bytesWanted(_ input: UnsafeRawBufferPointer, from consumed: Int) -> Int {
        guard !isSegmented, skipped == nil, input.count - consumed >= FrameHeader.size else { return 0 }
        let length = Int(UInt32(bigEndian: input.loadUnaligned(fromByteOffset: consumed + 5, as: UInt32.self)))
        return length <= maxFrameBytes ? FrameHeader.size + length : 0
    }

    /// The header at `offset`, checked; nil when it is not there as a whole. Its version is refused from its first byte on.
    mutating func header(
        _ bytes: UnsafeRawBufferPointer, at offset: Int, available: Int
    ) throws(ProtocolError) -> FrameHeader? {
        guard available >= 1 else { return nil }
        let first = bytes[offset]
        let isResponse = first & 0x80 != 0
        guard let version = ProtocolVersion(rawValue: first & 0x7F) else {
            // Versions 1 and 2 have a stream of one byte; from 3 on it has two.
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
            throw .frameTooLarge(length: header.length, limit: FrameDecoder.absoluteMaxFrameBytes, stream: header.stream)
        }
        self.version = version
        return header
    }

    mutating func resetInflated() {
        if inflated.count > FrameDecoder.keptBufferBytes { inflated = ByteWriter(capacity: 16) } else { inflated.removeAll() }
        inflatedOffset = 0
    }
}
