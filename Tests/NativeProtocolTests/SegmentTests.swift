import DataModel
import Fixtures
import Primitives
import Testing

@testable import NativeProtocol

@Suite("v5 segments") struct SegmentTests {
    func segments(_ frames: [UInt8], _ compression: FrameCompression) -> [UInt8] {
        var encoder = SegmentEncoder(compression: compression)
        var out = ByteWriter()
        frames.withUnsafeBytes { encoder.encode($0, into: &out) }
        return out.toArray()
    }

    func decoder(_ compression: FrameCompression = .none, _ direction: FrameDecoder.Direction = .requests)
        -> FrameDecoder
    {
        var decoder = FrameDecoder(direction: direction)
        decoder.beginSegments(compression: compression)
        return decoder
    }

    func query(_ length: Int, stream: Int16, seed: UInt64) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        var options = QueryOptions()
        options.values.append((0..<length).map { _ in UInt8.random(in: 0...255, using: &random) })
        var out = ByteWriter()
        RequestEncoder(version: .v5).query("SELECT", options, stream: stream, into: &out)
        return out.toArray()
    }

    @Test("a segment has the bytes that other drivers write") func golden() {
        var frame = ByteWriter()
        RequestEncoder(version: .v5).options(stream: 1, into: &frame)
        #expect(hex(frame.toArray()) == "050000010500000000")
        #expect(hex(segments(frame.toArray(), .none)) == Self.goldenOptions)
    }

    @Test("frames are read from segments in pieces of any size", arguments: [FrameCompression.none, .lz4])
    func roundTrip(compression: FrameCompression) throws {
        let sent =
            Samples.requests(.v5) + query(300_000, stream: 20, seed: 1) + Samples.requests(.v5)
            + query(131_000, stream: 21, seed: 2)
        var plain = FrameDecoder()
        let expected = try Samples.frames(sent, &plain)
        let wire = segments(sent, compression)
        var random = SeededRandom(seed: 7)
        for _ in 0..<20 {
            var decoder = decoder(compression)
            var found: [(FrameHeader, [UInt8])] = []
            let rest = try Samples.feed(wire, to: &decoder, piece: { Int.random(in: 1...60_000, using: &random) }) {
                frame in
                found.append((frame.header, [UInt8](frame.body)))
            }
            #expect(rest.isEmpty)
            #expect(found.map(\.0) == expected.map(\.0))
            #expect(found.map(\.1) == expected.map(\.1))
        }
    }

    @Test("every flipped bit is detected", arguments: [FrameCompression.none, .lz4]) func bitFlips(
        compression: FrameCompression
    ) throws {
        let sent = Samples.requests(.v5)
        let wire = segments(sent, compression)
        for position in 0..<wire.count {
            for bit in 0..<8 {
                var damaged = wire
                damaged[position] ^= 1 << UInt8(bit)
                var decoder = decoder(compression)
                #expect(throws: ProtocolError.self, "byte \(position) bit \(bit)") {
                    _ = try Samples.frames(damaged, &decoder)
                }
            }
        }
    }

    @Test("a truncated segment waits for more", arguments: [FrameCompression.none, .lz4]) func truncation(
        compression: FrameCompression
    ) throws {
        let wire = segments(Samples.requests(.v5), compression)
        for length in 0..<wire.count {
            var decoder = decoder(compression)
            #expect(try Samples.frames(Array(wire[..<length]), &decoder).isEmpty)
        }
    }

    @Test("an oversized frame is skipped and reported", arguments: [FrameCompression.none, .lz4], [200_000, 2000])
    func limit(compression: FrameCompression, length: Int) throws {
        let wire = segments(query(length, stream: 3, seed: 4) + Samples.requests(.v5), compression)
        var plain = FrameDecoder()
        let wanted = try Samples.frames(Samples.requests(.v5), &plain).map(\.0)
        for piece in [1000, 70_000, 140_000, wire.count] {
            var decoder = FrameDecoder(maxFrameBytes: 1024)
            decoder.beginSegments(compression: compression)
            var found: [FrameHeader] = []
            let rest = try Samples.feed(wire, to: &decoder, piece: { piece }) { frame in
                found.append(frame.header)
                #expect((frame.oversize != nil) == (frame.header.length > 1024))
            }
            #expect(rest.isEmpty)
            #expect(found.first?.stream == 3)
            #expect(Array(found.dropFirst()) == wanted)
        }
    }

    static let goldenOptions = "090002a4c8c1050000010500000000b5557486"
}
