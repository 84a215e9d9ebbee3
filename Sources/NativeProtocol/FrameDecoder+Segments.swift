import Primitives

// v5 segments (native_protocol_v5.spec, "Framing").
//
//     segment      := header crc24 payload crc32
//     header       := 3 bytes, least significant first: payload length (17 bits) self-contained (1) padding (6)
//     header (LZ4) := 5 bytes: compressed length (17) uncompressed length (17; 0: not compressed)
//                     self-contained (1) padding (5)
//
// A self-contained segment holds whole frames. A frame larger than a segment is split over several that are not
// self-contained.

/// The sizes of a segment's parts. Part of the protocol; do not change.
enum SegmentLayout {
    static let maxPayload = (1 << 17) - 1
    static let plainHeader = 3
    static let compressedHeader = 5
    static let headerChecksum = 3
    static let payloadChecksum = 4
}

extension FrameDecoder {
    mutating func nextInSegments(_ input: UnsafeRawBufferPointer, consumed: inout Int) throws(ProtocolError) -> Frame? {
        if assemblyIsDelivered {
            assemblyIsDelivered = false
            if assembly.count > FrameDecoder.keptBufferBytes {
                assembly = ByteWriter(capacity: 16)
            } else {
                assembly.removeAll()
            }
        }
        while true {
            if segmentLeft > 0 {
                let frame = try frameInside(input, at: consumed, left: segmentLeft)
                let size = FrameHeader.size + frame.header.length
                consumed += size
                segmentLeft -= size
                if segmentLeft == 0 { consumed += SegmentLayout.payloadChecksum }
                return frame
            }
            if inflatedOffset < inflated.count {
                let frame = try frameInside(inflated.bytes, at: inflatedOffset, left: inflated.count - inflatedOffset)
                inflatedOffset += FrameHeader.size + frame.header.length
                return frame
            }
            guard try openSegment(input, consumed: &consumed) else { return nil }
            if let frame = skippedFrame() { return frame }
            if assembly.count > 0, let frame = try assembledFrame() { return frame }
        }
    }

    /// Returns the frame at `offset` of a self-contained segment; it must not exceed the segment.
    private mutating func frameInside(_ bytes: UnsafeRawBufferPointer, at offset: Int, left: Int) throws(ProtocolError)
        -> Frame
    {
        guard let header = try header(bytes, at: offset, available: left) else {
            throw .malformedSegment("\(left) bytes at the end of a self-contained segment are not a frame")
        }
        guard left - FrameHeader.size >= header.length else {
            throw .malformedSegment(
                "a frame of \(header.length) bytes in a self-contained segment with \(left) bytes left")
        }
        if header.length > maxFrameBytes { return withoutBody(header, length: header.length) }
        let start = offset + FrameHeader.size
        return Frame(header: header, body: UnsafeRawBufferPointer(rebasing: bytes[start..<start + header.length]))
    }

    /// Verifies the segment at `consumed` and makes its payload the current one; false when it has not fully arrived.
    private mutating func openSegment(_ input: UnsafeRawBufferPointer, consumed: inout Int) throws(ProtocolError)
        -> Bool
    {
        let isCompressing = compression != .none
        let fields = isCompressing ? SegmentLayout.compressedHeader : SegmentLayout.plainHeader
        let headerSize = fields + SegmentLayout.headerChecksum
        let available = input.count - consumed
        guard available >= headerSize else { return false }
        var header: UInt64 = 0
        for index in 0..<fields { header |= UInt64(input[consumed + index]) << UInt64(index * 8) }
        var found: UInt32 = 0
        for index in 0..<SegmentLayout.headerChecksum {
            found |= UInt32(input[consumed + fields + index]) << UInt32(index * 8)
        }
        let expected = SegmentChecksum.crc24(header, count: fields)
        guard expected == found else { throw .segmentHeaderChecksum(expected: expected, found: found) }

        let mask = UInt64(SegmentLayout.maxPayload)
        let length = Int(header & mask)
        let uncompressedLength = isCompressing ? Int(header >> 17 & mask) : 0
        let isSelfContained = header >> (isCompressing ? 34 : 17) & 1 != 0
        guard available - headerSize >= length + SegmentLayout.payloadChecksum else { return false }

        let start = consumed + headerSize
        let payload = UnsafeRawBufferPointer(rebasing: input[start..<start + length])
        let sum = UInt32(littleEndian: input.loadUnaligned(fromByteOffset: start + length, as: UInt32.self))
        let computed = SegmentChecksum.crc32(payload)
        guard computed == sum else { throw .segmentPayloadChecksum(expected: computed, found: sum) }
        if isSelfContained && (assembly.count > 0 || skipLeft > 0) {
            throw .malformedSegment("a self-contained segment between the parts of a large frame")
        }

        if uncompressedLength > 0 {
            if isSelfContained {
                resetInflated()
                try FrameCompression.decompressLZ4(payload, count: uncompressedLength, into: &inflated)
            } else if try !skip(uncompressedLength) {
                try FrameCompression.decompressLZ4(payload, count: uncompressedLength, into: &assembly)
            }
            consumed = start + length + SegmentLayout.payloadChecksum
        } else if isSelfContained && length > 0 {
            segmentLeft = length
            consumed = start
        } else {
            if !isSelfContained, try !skip(length) { assembly.write(payload) }
            consumed = start + length + SegmentLayout.payloadChecksum
        }
        return true
    }

    /// Skips `count` bytes of an oversized frame; false when none is being skipped.
    private mutating func skip(_ count: Int) throws(ProtocolError) -> Bool {
        guard skipLeft > 0 else { return false }
        guard count <= skipLeft else {
            throw .malformedSegment("\(count - skipLeft) bytes follow a large frame in its last segment")
        }
        skipLeft -= count
        return true
    }

    /// Returns the frame assembled from several segments, once it is complete.
    private mutating func assembledFrame() throws(ProtocolError) -> Frame? {
        let collected = assembly.bytes
        guard let header = try header(collected, at: 0, available: collected.count) else { return nil }
        let size = FrameHeader.size + header.length
        guard collected.count <= size else {
            throw .malformedSegment("\(collected.count - size) bytes follow a large frame in its last segment")
        }
        if header.length > maxFrameBytes {
            skipped = header
            skipLeft = size - collected.count
            assembly.removeAll()
            return skippedFrame()
        }
        if collected.count < size { return nil }
        assemblyIsDelivered = true
        return Frame(header: header, body: UnsafeRawBufferPointer(rebasing: collected[FrameHeader.size...]))
    }
}
