import Primitives

/// Wraps frames in v5 segments, with as many frames per segment as fit.
///
/// **Thread safety**: one owner.
public struct SegmentEncoder: ~Copyable, Sendable {
    public let compression: FrameCompression
    private var compressed = ByteWriter(capacity: 16)

    public init(compression: FrameCompression) { self.compression = compression }

    /// Appends the segments for `frames`, which must be whole frames.
    public mutating func encode(_ frames: UnsafeRawBufferPointer, into out: inout ByteWriter) {
        var start = 0
        var end = 0
        while end < frames.count {
            precondition(frames.count - end >= FrameHeader.size, "frames end inside a header")
            let length = Int(UInt32(bigEndian: frames.loadUnaligned(fromByteOffset: end + 5, as: UInt32.self)))
            let size = FrameHeader.size + length
            precondition(frames.count - end >= size, "frames end inside a body")
            if end - start + size > SegmentLayout.maxPayload {
                if end > start {
                    segment(UnsafeRawBufferPointer(rebasing: frames[start..<end]), isSelfContained: true, into: &out)
                }
                start = end
                if size > SegmentLayout.maxPayload {
                    large(UnsafeRawBufferPointer(rebasing: frames[end..<end + size]), into: &out)
                    start = end + size
                }
            }
            end += size
        }
        if end > start {
            segment(UnsafeRawBufferPointer(rebasing: frames[start..<end]), isSelfContained: true, into: &out)
        }
    }

    private mutating func large(_ frame: UnsafeRawBufferPointer, into out: inout ByteWriter) {
        var offset = 0
        while offset < frame.count {
            let part = min(SegmentLayout.maxPayload, frame.count - offset)
            segment(UnsafeRawBufferPointer(rebasing: frame[offset..<offset + part]), isSelfContained: false, into: &out)
            offset += part
        }
    }

    private mutating func segment(_ payload: UnsafeRawBufferPointer, isSelfContained: Bool, into out: inout ByteWriter)
    {
        guard compression != .none else {
            let header = UInt64(payload.count) | (isSelfContained ? 1 << 17 : 0)
            emit(payload, header: header, fields: SegmentLayout.plainHeader, into: &out)
            return
        }
        let selfContained: UInt64 = isSelfContained ? 1 << 34 : 0
        compressed.removeAll()
        if FrameCompression.compressLZ4(payload, into: &compressed) {
            let header = UInt64(compressed.count) | UInt64(payload.count) << 17 | selfContained
            emit(compressed.bytes, header: header, fields: SegmentLayout.compressedHeader, into: &out)
        } else {
            emit(
                payload, header: UInt64(payload.count) | selfContained, fields: SegmentLayout.compressedHeader,
                into: &out)
        }
    }

    private func emit(_ payload: UnsafeRawBufferPointer, header: UInt64, fields: Int, into out: inout ByteWriter) {
        out.reserve(payload.count + 16)
        for index in 0..<fields { out.write(UInt8(truncatingIfNeeded: header >> UInt64(index * 8))) }
        let sum = SegmentChecksum.crc24(header, count: fields)
        for index in 0..<SegmentLayout.headerChecksum { out.write(UInt8(truncatingIfNeeded: sum >> UInt32(index * 8))) }
        out.write(payload)
        out.writeLE(SegmentChecksum.crc32(payload))
    }
}
