import Compression
import Primitives

/// The compression of a connection, negotiated in STARTUP.
public enum FrameCompression: Sendable, Equatable {
    case none
    case lz4
    /// Only with v4; v5 segments support only LZ4.
    case snappy

    /// The value of the COMPRESSION option of STARTUP.
    public var name: String {
        switch self {
        case .none: "none"
        case .lz4: "lz4"
        case .snappy: "snappy"
        }
    }

    /// Returns the compression with this name, if `version` supports it.
    public init?(name: String, version: ProtocolVersion) {
        switch (name.lowercased(), version) {
        case ("lz4", _): self = .lz4
        case ("snappy", .v4): self = .snappy
        case ("none", _), ("", _): self = .none
        default: return nil
        }
    }

    /// Appends a compressed v4 body: for LZ4 the uncompressed length (4 bytes) and the block; for Snappy its own
    /// format.
    /// - Returns: false when the body was not compressed and nothing was appended.
    func compressBody(_ body: UnsafeRawBufferPointer, into out: inout ByteWriter) -> Bool {
        let start = out.count
        switch self {
        case .none: return false
        case .lz4:
            out.writeBE(Int32(body.count))
            guard FrameCompression.compress(body, .lz4, into: &out) else {
                out.truncate(to: start)
                return false
            }
            return true
        case .snappy: return FrameCompression.compress(body, .snappy, into: &out)
        }
    }

    /// Decompresses a v4 body and appends it. When it would exceed `limit` bytes, appends nothing and returns its
    /// length.
    func decompressBody(
        _ body: UnsafeRawBufferPointer, limit: Int, stream: Int16, into out: inout ByteWriter
    ) throws(ProtocolError) -> Int? {
        let codec: BlockCodec
        let block: UnsafeRawBufferPointer
        let claimed: Int
        switch self {
        case .none: throw .compressionNotNegotiated(stream: stream)
        case .lz4:
            guard body.count >= 4 else {
                throw .malformedCompression("LZ4 body of \(body.count) bytes has no length", stream: stream)
            }
            codec = .lz4
            claimed = Int(Int32(bigEndian: body.loadUnaligned(as: Int32.self)))
            block = UnsafeRawBufferPointer(rebasing: body[4...])
        case .snappy:
            guard let stated = BlockDecompressor.snappyDecompressedCount(body) else {
                throw .malformedCompression("not a Snappy body", stream: stream)
            }
            codec = .snappy
            claimed = stated
            block = body
        }
        guard claimed >= 0 else {
            throw .malformedCompression("negative uncompressed length \(claimed)", stream: stream)
        }
        if claimed > limit { return claimed }
        if claimed == 0 && block.isEmpty { return nil }
        do {
            try BlockDecompressor.decompress(block, codec: codec, decompressedCount: claimed, into: &out)
            return nil
        } catch {
            throw .malformedCompression("\(codec.name) block of \(block.count) bytes is corrupt", stream: stream)
        }
    }

    /// Appends an LZ4 block; returns false and appends nothing when the block would not be smaller than its source.
    static func compressLZ4(_ source: UnsafeRawBufferPointer, into out: inout ByteWriter) -> Bool {
        compress(source, .lz4, into: &out)
    }

    /// Decompresses an LZ4 block of `count` uncompressed bytes and appends them.
    static func decompressLZ4(_ block: UnsafeRawBufferPointer, count: Int, into out: inout ByteWriter)
        throws(ProtocolError)
    {
        do {
            try BlockDecompressor.decompress(block, codec: .lz4, decompressedCount: count, into: &out)
        } catch {
            throw .malformedCompression("lz4 block of \(block.count) bytes is corrupt", stream: 0)
        }
    }

    private static func compress(_ source: UnsafeRawBufferPointer, _ codec: BlockCodec, into out: inout ByteWriter)
        -> Bool
    {
        let start = out.count
        do {
            try BlockCompressor(codec).compress(source, into: &out)
        } catch {
            // Send data uncompressed if the library fails.
            out.truncate(to: start)
            return false
        }
        if out.count - start >= source.count {
            out.truncate(to: start)
            return false
        }
        return true
    }
}
