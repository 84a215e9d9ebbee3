import DataModel
import Primitives
import Testing

@testable import NativeProtocol

@Suite("Frames") struct FrameTests {
    @Test("a complete frame is read in place") func noCopy() throws {
        let input = Samples.requests(.v4)
        try input.withUnsafeBytes { bytes in
            var decoder = FrameDecoder()
            var consumed = 0
            let frame = try #require(try decoder.next(bytes, consumed: &consumed))
            #expect(frame.header.opcode == .options)
            let second = try #require(try decoder.next(bytes, consumed: &consumed))
            #expect(second.body.baseAddress == bytes.baseAddress.map { $0 + 18 })
            #expect(decoder.version == .v4)
        }
    }

    @Test("an unsupported version is refused in the words that drivers look for", arguments: [0x42, 0x41, 6, 3, 2, 1])
    func versions(version: UInt8) throws {
        var decoder = FrameDecoder()
        do {
            _ = try Samples.frames([version, 0, 0, 0, 5, 0, 0, 0, 0], &decoder)
            Issue.record("accepted")
        } catch let error as ProtocolError {
            #expect(error.serverError.code == .protocolError)
            #expect(error.message.contains("unsupported protocol version"))
            var out = ByteWriter()
            ResponseEncoder.refusal(error, version: nil, into: &out)
            #expect(out.bytes[0] == (version > 4 ? 0x85 : 0x84))
            var client = FrameDecoder(direction: .responses)
            let frames = try Samples.frames(out.toArray(), &client)
            #expect(frames.first?.0.opcode == .error)
        }
    }

    @Test("a length of 1 GiB is refused at the header") func hugeLength() {
        for limit in [FrameDecoder.defaultMaxFrameBytes, 1 << 40] {
            var decoder = FrameDecoder(maxFrameBytes: limit)
            #expect(throws: ProtocolError.frameTooLarge(length: 1 << 30, limit: 256 << 20, stream: 258)) {
                _ = try Samples.frames([4, 0, 1, 2, 7, 0x40, 0, 0, 0], &decoder)
            }
        }
    }

    @Test("an oversized body is skipped in pieces of any size, and later frames are read") func oversize() throws {
        let wire =
            [4, 0, 0, 3, 7, 0, 0, 0x40, 0] + [UInt8](repeating: 7, count: 1 << 14) + [4, 0, 0, 4, 5, 0, 0, 0, 0]
        for piece in [1, 8, 9, 10, 1000, wire.count - 1, wire.count] {
            var decoder = FrameDecoder(maxFrameBytes: 1024)
            var found: [Int16] = []
            try Samples.feed(wire, to: &decoder, piece: { piece }, arrived: { #expect($0.count < FrameHeader.size) }) {
                frame in
                found.append(frame.header.stream)
                #expect(
                    frame.oversize == (frame.header.stream == 3 ? Frame.Oversize(length: 1 << 14, limit: 1024) : nil))
                var requests = RequestDecoder()
                if frame.header.stream == 4 {
                    _ = try requests.decode(frame)
                } else {
                    let error = #expect(throws: ServerError.self) { _ = try requests.decode(frame) }
                    #expect(error?.code == .invalid)
                    #expect(error?.message == "Request is too big: length 16384 exceeds maximum allowed length 1024")
                }
            }
            #expect(found == [3, 4], "pieces of \(piece) bytes")
        }
    }

    @Test("a body that would decompress beyond the limit is dropped") func bomb() throws {
        let body = [UInt8](repeating: 9, count: 1 << 20)
        var out = ByteWriter()
        #expect(body.withUnsafeBytes { FrameCompression.lz4.compressBody($0, into: &out) })
        let length = UInt32(out.count).bigEndian
        let wire =
            [4, 1, 0, 3, 7] + withUnsafeBytes(of: length) { [UInt8]($0) } + out.toArray() + [4, 0, 0, 4, 5, 0, 0, 0, 0]
        var decoder = FrameDecoder(maxFrameBytes: 1 << 19)
        decoder.compression = .lz4
        var consumed = 0
        try wire.withUnsafeBytes { bytes in
            let frame = try #require(try decoder.next(bytes, consumed: &consumed))
            #expect(frame.oversize == Frame.Oversize(length: 1 << 20, limit: 1 << 19))
            #expect(try decoder.next(bytes, consumed: &consumed)?.header.stream == 4)
        }
    }

    @Test("version and direction of a connection are fixed") func mismatches() {
        var decoder = FrameDecoder()
        #expect(throws: ProtocolError.versionChanged(expected: .v4, found: .v5, stream: 0)) {
            _ = try Samples.frames([4, 0, 0, 0, 5, 0, 0, 0, 0, 5, 0, 0, 0, 5, 0, 0, 0, 0], &decoder)
        }
        var other = FrameDecoder()
        #expect(throws: ProtocolError.wrongDirection(stream: 9)) {
            _ = try Samples.frames([0x84, 0, 0, 9, 5, 0, 0, 0, 0], &other)
        }
    }

    @Test("v4 bodies survive compression and decompression", arguments: [FrameCompression.lz4, .snappy])
    func compression(_ kind: FrameCompression)
        throws
    {
        var encoder = ResponseEncoder(version: .v4)
        encoder.compression = kind
        var rows = Samples.rows
        rows.rowCount = 1000
        rows.cells = (0..<1000).flatMap { _ in Samples.rows.cells }
        var out = ByteWriter()
        encoder.result(.rows(rows), ResponseHead(stream: 1), into: &out)
        #expect(out.count < rows.cells.count / 4)
        let wire = out.toArray()
        var decoder = FrameDecoder(direction: .responses)
        decoder.compression = kind
        let frame = try #require(try Samples.frames(wire, &decoder).first)
        try frame.1.withUnsafeBytes { body in
            guard case .rows(let read, _) = try ResponseDecoder.decode(Frame(header: frame.0, body: body)).response
            else {
                Issue.record("no rows")
                return
            }
            #expect(read.cells == rows.cells)
            #expect(read.metadata.columns.map(\.name) == ["faa", "tags", "spot"])
        }
        // Every damaged or truncated body is refused or read; none crashes.
        for position in FrameHeader.size..<wire.count {
            var damaged = wire
            damaged[position] ^= 0x55
            var decoder = FrameDecoder(direction: .responses, maxFrameBytes: 1 << 20)
            decoder.compression = kind
            _ = try? Samples.frames(damaged, &decoder)
        }
        var none = FrameDecoder(direction: .responses)
        #expect(throws: ProtocolError.compressionNotNegotiated(stream: 1)) { _ = try Samples.frames(wire, &none) }
    }

    @Test("random bytes never crash the decoders", arguments: [UInt64(1), 2, 3]) func fuzz(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let base: [[UInt8]] = [
            Samples.requests(.v4), Samples.requests(.v5), Samples.responses(.v4), Samples.responses(.v5),
        ]
        for round in 0..<20_000 {
            var input = base[round % 4]
            for _ in 0..<Int.random(in: 1...8, using: &random) {
                input[Int.random(in: 0..<input.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            let isRequest = round % 4 < 2
            var decoder = FrameDecoder(direction: isRequest ? .requests : .responses)
            var requests = RequestDecoder()
            input.withUnsafeBytes { bytes in
                var consumed = 0
                while let frame = try? decoder.next(bytes, consumed: &consumed) {
                    if isRequest { _ = try? requests.decode(frame) } else { _ = try? ResponseDecoder.decode(frame) }
                }
            }
        }
    }
}
