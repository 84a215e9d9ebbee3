import Fixtures
import Platform
import Primitives
import Testing

@testable import Storage

@Suite struct HintFormatTests {
    static let count = 5
    static let name = "\(HintSamples.a)-1700000000000.hints"

    /// Returns a sealed segment of five small hints and the offset of each; the last offset is that of the end mark.
    static func segment() throws -> (bytes: [UInt8], starts: [Int]) {
        let samples = try HintSamples()
        var starts = [HintFormat.headerBytes]
        for number in 0..<count {
            let bytes = HintSamples.bytes(number, count: 9 + number)
            try samples.add(HintSamples.a, bytes)
            starts.append((starts.last ?? 0) + HintFormat.storedCount(mutations: bytes.count))
        }
        try samples.store.close()
        return (try samples.system.readAll("hints/" + name), starts)
    }

    /// Reads a segment with these bytes.
    static func read(_ bytes: [UInt8]) throws -> (numbers: [Int], samples: HintSamples) {
        var samples = try HintSamples()
        try samples.overwrite(name, bytes)
        try samples.reopen()
        let found = try samples.waiting(HintSamples.a)
        samples.store.checkInvariants()
        return (found, samples)
    }

    @Test func goldenBytes() throws {
        let samples = try HintSamples()
        try samples.add(HintSamples.a, [0xab, 0xcd, 0xef], grace: 864_000)
        try samples.add(HintSamples.a, [1, 2, 3, 4, 5, 6, 7, 8], createdAt: samples.now - 1, grace: 0)
        try samples.store.close()
        let found = hex(try samples.system.readAll("hints/" + Self.name))
        #expect(
            found
                == "544e4948505355410100000000000000111122223333444455556666777788880068e5cf8b010000d6f90cd1634128c1"
                + "0300000000f15365002f0d0000000000302fb7bb98485e38776cb2f761f78495abcdef0000000000"
                + "08000000fff05365000000000000000097222316ea17f2164551ab70b617b1020102030405060708"
                + "ffffffff000000000000000000000000000000000000000014fe97b5377a7985")
    }

    @Test func goldenPositionAndOverflow() throws {
        let position = HintStateFile.position(728)
        #expect(
            String(decoding: position, as: UTF8.self)
                == "auspex hint position 1\noffset 728\nchecksum 91254ecdc4a8b8db\n")
        #expect(HintStateFile.decodePosition(position) == 728)
        let span = HintOverflow(first: 1_700_000_000, last: 4_294_967_295)
        let overflow = HintStateFile.overflow(span)
        #expect(
            String(decoding: overflow, as: UTF8.self)
                == "auspex hint overflow 1\nfirst 1700000000\nlast 4294967295\nchecksum 8cd4adae3647d4ea\n")
        #expect(HintStateFile.decodeOverflow(overflow) == span)
        #expect(HintFileName("\(HintSamples.a)-1700000000000.pos") == .position(HintSamples.a, 1_700_000_000_000))
        #expect(HintFileName("\(HintSamples.a).overflow") == .overflow(HintSamples.a))
        for (bytes, decodes) in [
            (position, { HintStateFile.decodePosition($0) != nil }),
            (overflow, { HintStateFile.decodeOverflow($0) != nil }),
        ] as [([UInt8], ([UInt8]) -> Bool)] {
            for length in 0..<bytes.count { #expect(!decodes(Array(bytes[..<length])), "\(length) bytes") }
            #expect(!decodes(bytes + [0x0a]))
            for bit in 0..<bytes.count * 8 {
                var flipped = bytes
                flipped[bit / 8] ^= 1 << (bit % 8)
                #expect(!decodes(flipped), "bit \(bit)")
            }
        }
    }

    @Test func truncatedSegmentGivesItsWholeRecords() throws {
        let (bytes, starts) = try Self.segment()
        #expect(bytes.count == (starts.last ?? 0) + HintFormat.recordHeaderBytes)
        for count in 0...bytes.count {
            let (numbers, samples) = try Self.read(Array(bytes[..<count]))
            // The last record counts without its padding.
            let whole = starts.dropFirst().prefix { $0 <= count }.count
            #expect(numbers == Array(0..<whole), "\(count) bytes")
            #expect(samples.events.all.isEmpty && !samples.store.needsRepair(HintSamples.a), "\(count) bytes")
            #expect(samples.store.targets().isEmpty == numbers.isEmpty, "\(count) bytes")
        }
    }

    @Test func everyFlippedBitIsDetected() throws {
        let (bytes, starts) = try Self.segment()
        let all = Array(0..<Self.count)
        for bit in 0..<bytes.count * 8 {
            var changed = bytes
            changed[bit / 8] ^= 1 << (bit % 8)
            let (numbers, samples) = try Self.read(changed)
            let isMarked = samples.store.needsRepair(HintSamples.a)
            #expect(isMarked == (samples.store.counters.damaged == 1), "bit \(bit)")
            #expect(samples.events.all.count == samples.store.counters.damaged, "bit \(bit)")
            guard let record = starts.lastIndex(where: { $0 <= bit / 8 }) else {
                #expect(numbers.isEmpty && isMarked, "bit \(bit) of the header")
                continue
            }
            let inside = bit / 8 - starts[record]
            if record == Self.count {
                #expect(numbers == all && !isMarked, "bit \(bit) of the end")
            } else if inside < HintFormat.recordHeaderBytes {
                #expect(numbers == Array(0..<record) && isMarked, "bit \(bit) of a record's header")
            } else if inside < HintFormat.recordHeaderBytes + 9 + record {
                #expect(numbers == all.filter { $0 != record } && isMarked, "bit \(bit) of a record's mutations")
            } else {
                #expect(numbers == all && !isMarked, "bit \(bit) of padding")
            }
        }
    }

    @Test func segmentOfAnotherVersionIsNotTouched() throws {
        var (bytes, _) = try Self.segment()
        bytes[8] = 2
        let checksum = Checksum.xxh3(Array(bytes[..<40]))
        for index in 0..<8 { bytes[40 + index] = UInt8(truncatingIfNeeded: checksum >> UInt64(index * 8)) }
        let (numbers, samples) = try Self.read(bytes)
        #expect(numbers.isEmpty)
        #expect(samples.events.all == [.unknownVersion(path: "hints/" + Self.name, found: 2)])
        try samples.add(HintSamples.a, HintSamples.bytes(1))
        try samples.store.close()
        #expect(try samples.system.readAll("hints/" + Self.name) == bytes)
        #expect(try samples.names.count == 2)
    }

    @Test func renamedHintSegmentIsNotRead() throws {
        var samples = try HintSamples()
        let (bytes, _) = try Self.segment()
        try samples.overwrite("\(HintSamples.b)-1700000000000.hints", bytes)
        try samples.overwrite("\(HintSamples.a)-1700000000001.hints", bytes)
        try samples.reopen()
        #expect(try samples.waiting(HintSamples.a).isEmpty && samples.waiting(HintSamples.b).isEmpty)
        // In the first file the records are valid but the header is not, so it counts as damaged. In the second no
        // record is valid, so it is an empty segment.
        #expect(samples.store.needsRepair(HintSamples.b) && !samples.store.needsRepair(HintSamples.a))
    }

    @Test(arguments: 0..<8) func randomBytesAreNotRecords(seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed))
        let (bytes, _) = try Self.segment()
        for _ in 0..<60 {
            var changed = bytes
            for _ in 0..<Int.random(in: 1...20, using: &random) {
                let at = Int.random(in: 0..<changed.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: changed[at] = UInt8.random(in: 0...255, using: &random)
                case 1: changed.removeSubrange(at..<min(changed.count, at + Int.random(in: 1...30, using: &random)))
                default: changed.insert(UInt8.random(in: 0...255, using: &random), at: at)
                }
                if changed.isEmpty { break }
            }
            let (numbers, _) = try Self.read(changed)
            #expect(
                zip(numbers, numbers.dropFirst()).allSatisfy { $0 < $1 } && numbers.allSatisfy { $0 < Self.count },
                "seed \(seed)")
        }
    }
}
