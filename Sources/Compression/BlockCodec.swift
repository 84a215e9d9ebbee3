import CLZ4
import CSnappy
import CZstd
import Primitives

/// Why a block could not be compressed or decompressed.
public enum CompressionError: Error, Equatable, Sendable {
    /// The compression library failed.
    case compressFailed(codec: String)
    /// The bytes are damaged, or were compressed with another codec.
    case damaged(codec: String, byteCount: Int)
}

/// A compression codec for blocks.
public enum BlockCodec: Sendable, Equatable, Hashable {
    case none
    case lz4
    case snappy
    case zstd(level: Int32)

    /// Part of the file format; do not change.
    public var code: UInt8 {
        switch self {
        case .none: 0
        case .lz4: 1
        case .snappy: 2
        case .zstd: 3
        }
    }

    public init?(code: UInt8) {
        switch code {
        case 0: self = .none
        case 1: self = .lz4
        case 2: self = .snappy
        case 3: self = .zstd(level: 3)
        default: return nil
        }
    }

    public var name: String {
        switch self {
        case .none: "none"
        case .lz4: "lz4"
        case .snappy: "snappy"
        case .zstd: "zstd"
        }
    }
}

/// Compresses blocks, reusing the codec's working memory.
///
/// **Thread safety**: one thread at a time.
public final class BlockCompressor {
    public let codec: BlockCodec
    private let zstd: OpaquePointer?

    public init(_ codec: BlockCodec) {
        self.codec = codec
        if case .zstd = codec { zstd = ZSTD_createCCtx() } else { zstd = nil }
    }

    deinit { if let zstd { ZSTD_freeCCtx(zstd) } }

    /// Appends the compressed form of `input` to `out`.
    /// - Throws: `compressFailed` when the library fails.
    public func compress(_ input: UnsafeRawBufferPointer, into out: inout ByteWriter) throws(CompressionError) {
        switch codec {
        case .none: out.write(input)
        case .lz4:
            let bound = Int(LZ4_compressBound(Int32(input.count)))
            try out.append(bound) { (room) throws(CompressionError) -> Int in
                let got = LZ4_compress_default(
                    input.baseAddress?.assumingMemoryBound(to: CChar.self),
                    room.baseAddress?.assumingMemoryBound(to: CChar.self),
                    Int32(input.count), Int32(bound))
                guard got > 0 else { throw .compressFailed(codec: "lz4") }
                return Int(got)
            }
        case .snappy:
            let bound = snappy_max_compressed_length(input.count)
            try out.append(bound) { (room) throws(CompressionError) -> Int in
                var length = bound
                let status = snappy_compress(
                    input.baseAddress?.assumingMemoryBound(to: CChar.self), input.count,
                    room.baseAddress?.assumingMemoryBound(to: CChar.self), &length)
                guard status == SNAPPY_OK else { throw .compressFailed(codec: "snappy") }
                return length
            }
        case .zstd(let level):
            let bound = ZSTD_compressBound(input.count)
            let context = zstd
            try out.append(bound) { (room) throws(CompressionError) -> Int in
                let got = ZSTD_compressCCtx(context, room.baseAddress, bound, input.baseAddress, input.count, level)
                guard ZSTD_isError(got) == 0 else { throw .compressFailed(codec: "zstd") }
                return got
            }
        }
    }
}

/// Decompresses what `BlockCompressor` compressed.
public enum BlockDecompressor {
    /// Decompresses `input` into `output`, which it must fill exactly.
    /// - Throws: `damaged` when `input` does not decompress to exactly that many bytes.
    public static func decompress(
        _ input: UnsafeRawBufferPointer, codec: BlockCodec, into output: UnsafeMutableRawBufferPointer
    ) throws(CompressionError) {
        let good: Bool
        switch codec {
        case .none:
            good = input.count == output.count
            if good { output.copyMemory(from: input) }
        case .lz4:
            let got = LZ4_decompress_safe(
                input.baseAddress?.assumingMemoryBound(to: CChar.self),
                output.baseAddress?.assumingMemoryBound(to: CChar.self),
                Int32(clamping: input.count), Int32(clamping: output.count))
            good = Int(got) == output.count
        case .snappy:
            var length = output.count
            var stated = 0
            let start = input.baseAddress?.assumingMemoryBound(to: CChar.self)
            good =
                snappy_uncompressed_length(start, input.count, &stated) == SNAPPY_OK && stated == output.count
                && snappy_uncompress(
                    start, input.count, output.baseAddress?.assumingMemoryBound(to: CChar.self), &length) == SNAPPY_OK
                && length == output.count
        case .zstd:
            let got = zstdDecompress(input, into: output)
            good = got == output.count
        }
        guard good else { throw .damaged(codec: codec.name, byteCount: input.count) }
    }

    /// Decompresses `input` and appends its `decompressedCount` bytes to `out`.
    public static func decompress(
        _ input: UnsafeRawBufferPointer, codec: BlockCodec, decompressedCount: Int, into out: inout ByteWriter
    ) throws(CompressionError) {
        try out.append(decompressedCount) { (room) throws(CompressionError) -> Int in
            try decompress(
                input, codec: codec, into: UnsafeMutableRawBufferPointer(rebasing: room[..<decompressedCount]))
            return decompressedCount
        }
    }

    /// The decompressed size stated in a snappy block; nil when the block is damaged.
    public static func snappyDecompressedCount(_ input: UnsafeRawBufferPointer) -> Int? {
        var stated = 0
        guard
            snappy_uncompressed_length(input.baseAddress?.assumingMemoryBound(to: CChar.self), input.count, &stated)
                == SNAPPY_OK
        else {
            return nil
        }
        return stated
    }

    private static func zstdDecompress(_ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer)
        -> Int
    {
        let got = ZstdContextPool.withContext {
            ZSTD_decompressDCtx($0, output.baseAddress, output.count, input.baseAddress, input.count)
        }
        return ZSTD_isError(got) == 0 ? Int(got) : -1
    }
}
