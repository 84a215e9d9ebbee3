import DataModel
import Platform
import Primitives
import Testing

@testable import Storage

@Suite struct HintStoreTests {
    @Test func hintsAreReadInOrderOverSegments() throws {
        var samples = try HintSamples()
        for number in 0..<200 {
            try samples.add(HintSamples.a, HintSamples.bytes(number, count: 50 + number))
            if number % 7 == 0 { try samples.store.flush() }
            if number % 2 == 0 { try samples.add(HintSamples.b, HintSamples.bytes(number)) }
        }
        samples.store.checkInvariants()
        #expect(try samples.waiting(HintSamples.a) == Array(0..<200))
        #expect(try samples.waiting(HintSamples.b) == Array(stride(from: 0, to: 200, by: 2)))
        #expect(try samples.names.filter { $0.hasPrefix(HintSamples.a.description) }.count > 8)
        for name in try samples.names {
            #expect(try samples.system.readAll("hints/" + name).count <= samples.options.fileBytes)
        }
        try samples.store.close()
        #expect(throws: StorageError.self) { try samples.add(HintSamples.a, [1]) }
        try samples.reopen()
        samples.store.checkInvariants()
        #expect(try samples.waiting(HintSamples.a) == Array(0..<200))
        #expect(samples.store.counters.damaged == 0)
        #expect(samples.events.all.isEmpty)
    }

    @Test func hintsRoundTrip() throws {
        let samples = try HintSamples()
        let mutation = TwoTables.bytes
        try samples.add(HintSamples.a, mutation, createdAt: samples.now - 5, grace: 77)
        let reader = try #require(samples.store.reader(for: HintSamples.a))
        let batch = try #require(try reader.next(maxBytes: 1))
        #expect(batch.hints == [Hint(mutations: mutation, createdAt: samples.now - 5, graceSeconds: 77)])
        #expect(batch.byteCount == mutation.count)
        #expect(try reader.next(maxBytes: 1) == nil)
        #expect(samples.store.targets().map(\.oldest) == [samples.now - 5])
    }

    @Test func batchesKeepToTheirLimits() throws {
        let samples = try HintSamples()
        for number in 0..<30 { try samples.add(HintSamples.a, HintSamples.bytes(number, count: 100)) }
        let reader = try #require(samples.store.reader(for: HintSamples.a))
        #expect(try reader.next(maxBytes: 250)?.hints.count == 2)
        #expect(try reader.next(maxBytes: 300)?.hints.count == 3)
        #expect(try reader.next(maxBytes: 1)?.hints.count == 1)
        #expect(try reader.next(maxBytes: 10_000, maxHints: 4)?.hints.count == 4)
        // The first file holds 28 hints. A batch never spans two files.
        let rest = try #require(try reader.next(maxBytes: 100_000))
        #expect(rest.hints.count < 20)
        #expect(rest.end.offset == .max)
    }

    @Test func acknowledgedHintsAreNotReadAgain() throws {
        var samples = try HintSamples()
        for number in 0..<100 { try samples.add(HintSamples.a, HintSamples.bytes(number)) }
        var reader = try #require(samples.store.reader(for: HintSamples.a))
        var last: HintPosition?
        var seen = 0
        while seen < 40, let batch = try reader.next(maxBytes: 700) {
            seen += batch.hints.count
            last = batch.end
        }
        #expect(try samples.waiting(HintSamples.a) == Array(0..<100))
        reader.acknowledge(upTo: try #require(last))
        #expect(samples.store.counters.replayed == seen)
        #expect(try samples.waiting(HintSamples.a) == Array(seen..<100))
        // A hint added during a replay goes into another segment.
        try samples.add(HintSamples.a, HintSamples.bytes(100))
        #expect(try samples.waiting(HintSamples.a) == Array(seen...100))
        try samples.store.sync()
        #expect(try samples.names.contains { $0.hasSuffix(".pos") })
        let before = samples.store.targets()
        try samples.reopen()
        samples.store.checkInvariants()
        #expect(samples.store.targets() == before)
        #expect(try samples.waiting(HintSamples.a) == Array(seen...100))
        reader = try #require(samples.store.reader(for: HintSamples.a))
        while let batch = try reader.next(maxBytes: 5000) { reader.acknowledge(upTo: batch.end) }
        #expect(samples.store.targets().isEmpty)
        #expect(samples.store.reader(for: HintSamples.a) == nil)
        try samples.store.sync()
        #expect(try samples.names.isEmpty)
        #expect(samples.store.storedBytes == 0)
        samples.store.checkInvariants()
    }

    @Test func damagedPositionMeansTheStartOfTheSegment() throws {
        var samples = try HintSamples()
        for number in 0..<20 { try samples.add(HintSamples.a, HintSamples.bytes(number)) }
        let reader = try #require(samples.store.reader(for: HintSamples.a))
        reader.acknowledge(upTo: try #require(try reader.next(maxBytes: 500)).end)
        try samples.store.sync()
        let name = try #require(try samples.names.first { $0.hasSuffix(".pos") })
        let good = try samples.system.readAll("hints/" + name)
        let body = "auspex hint position 1\noffset 728\n"
        #expect(
            String(decoding: good, as: UTF8.self) == body
                + "checksum \(String(Checksum.xxh3(Array(body.utf8)), radix: 16))\n")
        for index in good.indices {
            var bytes = good
            bytes[index] ^= 1
            #expect(HintStateFile.decodePosition(bytes) == nil, "byte \(index)")
            #expect(HintStateFile.decodePosition(Array(good[..<index])) == nil, "\(index) bytes")
        }
        var bytes = good
        bytes[30] ^= 1
        try samples.overwrite(name, bytes)
        try samples.reopen()
        #expect(try samples.waiting(HintSamples.a) == Array(0..<20))
        // The damaged position file is removed with its segment.
        let again = try #require(samples.store.reader(for: HintSamples.a))
        while let batch = try again.next(maxBytes: 500) { again.acknowledge(upTo: batch.end) }
        try samples.store.sync()
        #expect(try samples.names.isEmpty)
    }

    @Test func hintsOlderThanGcGraceAreDropped() throws {
        let samples = try HintSamples()
        for number in 0..<60 {
            try samples.add(HintSamples.a, HintSamples.bytes(number), grace: number % 3 == 0 ? 1000 : 100)
        }
        samples.time.advance(microseconds: 100_000_000)
        let kept = (0..<60).filter { $0 % 3 == 0 }
        #expect(try samples.waiting(HintSamples.a) == kept)
        #expect(samples.store.counters.expired == 40)
        // Expired hints at the end of a batch are acknowledged with it.
        let reader = try #require(samples.store.reader(for: HintSamples.a))
        while let batch = try reader.next(maxBytes: 1) { reader.acknowledge(upTo: batch.end) }
        #expect(samples.store.targets().isEmpty)
        #expect(samples.store.counters.replayed == 20)
        // When all hints have expired, reading them removes them.
        for number in 0..<60 { try samples.add(HintSamples.b, HintSamples.bytes(number), grace: 5) }
        samples.time.advance(microseconds: 5_000_000)
        #expect(try samples.waiting(HintSamples.b).isEmpty)
        #expect(samples.store.targets().isEmpty)
        try samples.store.sync()
        #expect(try samples.names.isEmpty)
        #expect(!samples.store.needsRepair(HintSamples.b))
    }

    @Test func expiredHintsDoNotAcknowledgeEarlierOnes() throws {
        let samples = try HintSamples()
        try samples.add(HintSamples.a, HintSamples.bytes(0))
        for number in 1..<60 { try samples.add(HintSamples.a, HintSamples.bytes(number), grace: 1) }
        try samples.add(HintSamples.a, HintSamples.bytes(60))
        samples.time.advance(microseconds: 2_000_000)
        let reader = try #require(samples.store.reader(for: HintSamples.a))
        let first = try #require(try reader.next(maxBytes: 1))
        let second = try #require(try reader.next(maxBytes: 1))
        #expect(try reader.next(maxBytes: 1) == nil)
        #expect(try samples.waiting(HintSamples.a) == [0, 60])
        reader.acknowledge(upTo: first.end)
        #expect(try samples.waiting(HintSamples.a) == [60])
        reader.acknowledge(upTo: second.end)
        #expect(samples.store.targets().isEmpty)
    }

    @Test func hintsBeyondTheLimitsAreRefusedAndRecorded() throws {
        var samples = try HintSamples {
            $0.targetBytes = 10_000
            $0.totalBytes = 15_000
        }
        func fill(_ target: UUID) throws -> Int {
            var kept = 0
            while try samples.add(target, HintSamples.bytes(kept)) {
                kept += 1
                try samples.store.flush()
            }
            return kept
        }
        let first = try fill(HintSamples.a)
        #expect(samples.store.storedBytes <= 10_000 && samples.store.storedBytes > 9_000)
        #expect(samples.store.needsRepair(HintSamples.a) && !samples.store.needsRepair(HintSamples.b))
        let second = try fill(HintSamples.b)
        #expect(first > 70 && second > 30 && second < first)
        #expect(samples.store.storedBytes <= 15_000)
        #expect(samples.events.all.count == 2)
        samples.time.advance(microseconds: 60_000_000)
        #expect(try !samples.add(HintSamples.a, HintSamples.bytes(0)))
        #expect(samples.events.all.count == 2, "told once")
        let missed = HintOverflow(first: samples.now - 60, last: samples.now)
        #expect(samples.store.overflow(of: HintSamples.a) == missed)
        #expect(samples.store.counters.refused == 3)
        try samples.store.sync()
        try samples.reopen()
        #expect(samples.store.overflow(of: HintSamples.a) == missed)
        #expect(try samples.waiting(HintSamples.a) == Array(0..<first))
        // There is space again when replayed hints are removed.
        let reader = try #require(samples.store.reader(for: HintSamples.a))
        while let batch = try reader.next(maxBytes: 5000) { reader.acknowledge(upTo: batch.end) }
        try samples.store.sync()
        #expect(try samples.add(HintSamples.a, HintSamples.bytes(0)))
        // A repair that began half a minute ago covers only what was missed before it.
        samples.store.clearNeedsRepair(HintSamples.a, upTo: samples.now - 30)
        #expect(samples.store.overflow(of: HintSamples.a) == HintOverflow(first: samples.now - 30, last: samples.now))
        samples.store.clearNeedsRepair(HintSamples.a, upTo: samples.now)
        #expect(!samples.store.needsRepair(HintSamples.a))
        try samples.store.sync()
        try samples.reopen()
        #expect(!samples.store.needsRepair(HintSamples.a) && samples.store.needsRepair(HintSamples.b))
        samples.store.checkInvariants()
    }

    @Test func largeMutationsAndAFullBufferAreRefused() throws {
        let samples = try HintSamples { $0.bufferedBytes = 5000 }
        let largest = samples.store.largestHint
        #expect(try samples.add(HintSamples.a, HintSamples.bytes(0, count: largest)))
        #expect(try !samples.add(HintSamples.a, HintSamples.bytes(1, count: largest + 1)))
        #expect(samples.store.needsRepair(HintSamples.a))
        #expect(try samples.add(HintSamples.b, HintSamples.bytes(2, count: largest)))
        #expect(try !samples.add(HintSamples.b, HintSamples.bytes(3, count: largest)))
        #expect(samples.store.needsRepair(HintSamples.b))
        try samples.store.flush()
        #expect(samples.store.bufferedBytes == 0)
        #expect(try samples.add(HintSamples.b, HintSamples.bytes(3, count: largest)))
        #expect(try samples.waiting(HintSamples.b) == [2, 3])
    }

    @Test func hintsAreKeptWithinTheHintWindow() throws {
        var samples = try HintSamples { $0.windowSeconds = 100 }
        let down = samples.now
        #expect(samples.store.isWithinWindow(HintSamples.a, downSince: down, now: down + 100))
        #expect(!samples.store.isWithinWindow(HintSamples.a, downSince: down, now: down + 101))
        #expect(samples.store.isWithinWindow(HintSamples.a, downSince: .max, now: .max))
        samples.time.advance(microseconds: 50_000_000)
        #expect(try samples.add(HintSamples.a, HintSamples.bytes(0), downSince: down))
        samples.time.advance(microseconds: 51_000_000)
        #expect(try !samples.add(HintSamples.a, HintSamples.bytes(1), downSince: down))
        #expect(samples.store.overflow(of: HintSamples.a) == HintOverflow(first: samples.now, last: samples.now))
        // After a restart this node only knows that the target is still down; the age of the oldest hint tells since
        // when.
        try samples.store.close()
        try samples.reopen()
        let again = samples.now
        samples.time.advance(microseconds: 48_000_000)
        #expect(samples.store.isWithinWindow(HintSamples.a, downSince: again, now: samples.now))
        samples.time.advance(microseconds: 2_000_000)
        #expect(!samples.store.isWithinWindow(HintSamples.a, downSince: again, now: samples.now))
        // For a node that is up the window does not matter.
        #expect(try samples.add(HintSamples.a, HintSamples.bytes(1)))
    }

    @Test func removedNodeLeavesNoFiles() throws {
        var samples = try HintSamples { $0.targetBytes = 6000 }
        for number in 0..<100 { try samples.add(HintSamples.a, HintSamples.bytes(number)) }
        try samples.add(HintSamples.b, HintSamples.bytes(7))
        let reader = try #require(samples.store.reader(for: HintSamples.a))
        let batch = try #require(try reader.next(maxBytes: 500))
        reader.acknowledge(upTo: batch.end)
        try samples.store.sync()
        try samples.add(HintSamples.a, HintSamples.bytes(1))
        try samples.store.remove(HintSamples.a)
        samples.store.checkInvariants()
        #expect(try samples.names.allSatisfy { !$0.hasPrefix(HintSamples.a.description) })
        #expect(samples.store.targets().map(\.id) == [HintSamples.b])
        #expect(!samples.store.needsRepair(HintSamples.a))
        while try reader.next(maxBytes: 500) != nil {}
        // A reader opened before the removal cannot acknowledge later hints.
        try samples.add(HintSamples.a, HintSamples.bytes(9))
        try samples.store.flush()
        reader.acknowledge(upTo: HintPosition(segment: batch.end.segment, offset: .max))
        #expect(try samples.waiting(HintSamples.a) == [9])
        try samples.store.close()
        try samples.reopen()
        #expect(try samples.waiting(HintSamples.a) == [9])
        #expect(try samples.waiting(HintSamples.b) == [7])
    }

    @Test func fullDiskKeepsHintsInMemoryAndReplayContinues() throws {
        let isFull = Flag()
        let system = MemoryFileSystem { operation, _ in isFull.isSet && operation == "write" ? .noSpace : nil }
        let samples = try HintSamples(system: system)
        for number in 0..<10 { try samples.add(HintSamples.a, HintSamples.bytes(number)) }
        try samples.store.sync()
        isFull.set(true)
        for number in 10..<20 { try samples.add(HintSamples.a, HintSamples.bytes(number)) }
        #expect(throws: StorageError.self) { try samples.store.flush() }
        #expect(throws: StorageError.self) { try samples.store.sync() }
        samples.store.checkInvariants()
        #expect(try samples.waiting(HintSamples.a) == Array(0..<10))
        #expect(!samples.store.needsRepair(HintSamples.a))
        isFull.set(false)
        try samples.store.sync()
        #expect(try samples.waiting(HintSamples.a) == Array(0..<20))
        samples.store.checkInvariants()
    }

    @Test func failedSyncMarksTheNodeForRepair() throws {
        let isBroken = Flag()
        let system = MemoryFileSystem { operation, path in
            isBroken.isSet && operation == "sync" && path.hasSuffix(".hints") ? .failed(errno: 5) : nil
        }
        let samples = try HintSamples(system: system)
        try samples.add(HintSamples.a, HintSamples.bytes(0))
        isBroken.set(true)
        #expect(throws: StorageError.self) { try samples.store.sync() }
        #expect(samples.store.needsRepair(HintSamples.a))
        isBroken.set(false)
        // Later hints go to a new file; the hints of the file whose sync failed are replayed as well.
        try samples.add(HintSamples.a, HintSamples.bytes(1))
        try samples.store.sync()
        #expect(try samples.names.filter { $0.hasSuffix(".hints") }.count == 2)
        #expect(try samples.waiting(HintSamples.a) == [0, 1])
    }

    @Test func unknownFilesAreLeftAlone() throws {
        var samples = try HintSamples()
        let host = HintSamples.a
        let names = ["README", "x.hints", "\(host)-01.hints", "\(host)-1.hintss", "y.tmp", "\(host).overflow.tmp"]
        for name in names { try samples.overwrite(name, [1, 2, 3]) }
        try samples.reopen()
        #expect(samples.store.targets().isEmpty)
        #expect(try samples.names == names.dropLast().sorted())
    }

    @Test func unreadableOverflowFileCountsAsOverflow() throws {
        var samples = try HintSamples()
        let good = HintStateFile.overflow(HintOverflow(first: 10, last: 20))
        #expect(HintStateFile.decodeOverflow(good) == HintOverflow(first: 10, last: 20))
        for index in good.indices {
            var bytes = good
            bytes[index] ^= 4
            #expect(HintStateFile.decodeOverflow(bytes) == nil, "byte \(index)")
            #expect(HintStateFile.decodeOverflow(Array(good[..<index])) == nil, "\(index) bytes")
        }
        try samples.overwrite("\(HintSamples.a).overflow", Array(good.dropLast()))
        try samples.reopen()
        #expect(samples.store.overflow(of: HintSamples.a) == HintOverflow(first: 0, last: .max))
        #expect(samples.events.all.count == 1)
    }
}

enum TwoTables {
    /// Mutations of two tables.
    static var bytes: [UInt8] {
        var writer = ByteWriter()
        for table in [UUID(high: 1, low: 2), UUID(high: 1, low: 3)] {
            writer.writeBE(table.high)
            writer.writeBE(table.low)
            writer.writeLE(UInt32(9 + 3 + 2))
            writer.write(UInt8(1))
            writer.writeLE(UInt32(3))
            writer.writeLE(UInt32(2))
            writer.write([1, 2, 3, 4, 5])
        }
        return writer.toArray()
    }
}
