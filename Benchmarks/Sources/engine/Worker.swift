import Foundation

/// Runs the rows of the report for one engine, in a process of its own, so that its memory can be measured.
struct Worker<P: Peer & Sendable> {
    let entries: Int
    let directory: String
    var results: [(name: String, value: Double)] = []

    init(entries: Int, directory: String) {
        self.entries = entries
        self.directory = directory
    }

    // MARK: Entries

    /// Returns values of which half compresses away.
    private static func makeValues() -> [UInt8] {
        var random = SystemRandomNumberGenerator()
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        var at = 0
        while at + 100 <= bytes.count {
            for index in 0..<50 { bytes[at + index] = UInt8(truncatingIfNeeded: random.next()) }
            for index in 50..<100 { bytes[at + index] = bytes[at + index - 50] }
            at += 100
        }
        return bytes
    }

    /// Maps a number pseudo-randomly to 0 ..< `count`. Not a permutation: only about 63% of the numbers occur.
    static func scrambled(_ number: Int, of count: Int) -> Int {
        Int((UInt64(number) &* 0x9e37_79b9_7f4a_7c15 ^ 0x5bd1_e995) % UInt64(count))
    }

    static func writeKey(_ number: Int, _ buffer: UnsafeMutableRawPointer) {
        var rest = number
        for index in stride(from: 15, through: 0, by: -1) {
            buffer.storeBytes(of: UInt8(0x30 + rest % 10), toByteOffset: index, as: UInt8.self)
            rest /= 10
        }
    }

    static func seconds(_ body: () throws -> Void) rethrows -> Double {
        var start = timespec()
        clock_gettime(CLOCK_MONOTONIC, &start)
        try body()
        var end = timespec()
        clock_gettime(CLOCK_MONOTONIC, &end)
        return Double(end.tv_sec - start.tv_sec) + Double(end.tv_nsec - start.tv_nsec) / 1e9
    }

    private func open(_ name: String, _ options: PeerOptions = PeerOptions(), fresh: Bool = true) throws -> P {
        let path = directory + "/" + name
        if fresh { try? FileManager.default.removeItem(atPath: path) }
        return try P(directory: path, options: options)
    }

    private mutating func note(_ name: String, _ value: Double) {
        results.append((name, value))
        FileHandle.standardError.write(Data("  \(P.name) \(name): \(Int(value))\n".utf8))
    }

    /// Runs `body` on several threads at once and returns the total operations per second.
    private static func threads(
        _ count: Int, operations: Int, _ body: @escaping @Sendable (_ thread: Int, _ operations: Int) -> Void
    )
        -> Double
    {
        let share = operations / count
        let time = seconds {
            let group = DispatchGroup()
            for thread in 0..<count {
                let worker = Thread {
                    body(thread, share)
                    group.leave()
                }
                worker.stackSize = 1 << 20
                group.enter()
                worker.start()
            }
            group.wait()
        }
        return Double(share * count) / time
    }

    static func resident() -> Double {
        let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
        let pages = text.split(separator: " ").dropFirst().first.flatMap { Double($0) } ?? 0
        return pages * 4096
    }

    // MARK: Rows

    private func fill(_ peer: P, count: Int, batch: Int, sequential: Bool) throws -> Double {
        let values = Self.makeValues()
        let keys = UnsafeMutableRawPointer.allocate(byteCount: 16 * batch, alignment: 16)
        defer { keys.deallocate() }
        return try values.withUnsafeBytes { values in
            let time = try Self.seconds {
                var at = 0
                var value = 0
                while at < count {
                    let many = min(batch, count - at)
                    for index in 0..<many {
                        let number = sequential ? at + index : Self.scrambled(at + index, of: count)
                        Self.writeKey(number, keys + index * 16)
                    }
                    let first = value
                    func entry(_ index: Int) -> (UnsafeRawBufferPointer, UnsafeRawBufferPointer) {
                        (
                            UnsafeRawBufferPointer(start: keys + index * 16, count: 16),
                            UnsafeRawBufferPointer(
                                rebasing: values[
                                    (first + index * 100) % 1_000_000..<(first + index * 100) % 1_000_000 + 100])
                        )
                    }
                    if batch == 1 {
                        let (key, bytes) = entry(0)
                        if sequential { try peer.putSequential(key, bytes) } else { try peer.put(key, bytes) }
                    } else if sequential {
                        try peer.putSequential(batch: many, entry)
                    } else {
                        try peer.put(batch: many, entry, sync: false)
                    }
                    at += many
                    value = (value + many * 100) % 1_000_000
                }
            }
            return Double(count) / time
        }
    }

    private static func reads(_ peer: P, threads: Int, operations: Int, entries: Int, missing: Bool) -> Double {
        self.threads(threads, operations: operations) { thread, operations in
            var random = UInt64(thread + 1) &* 0x1234_5678_9abc_def1
            let key = UnsafeMutableRawPointer.allocate(byteCount: 16, alignment: 16)
            defer { key.deallocate() }
            var found = 0
            for _ in 0..<operations {
                random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                let number = scrambled(Int(random >> 33) % entries, of: entries)
                writeKey(number, key)
                // Missing keys fall between existing ones: a colon sorts after the digit 9.
                if missing { key.storeBytes(of: 0x3a, toByteOffset: 15, as: UInt8.self) }
                if let count = try? peer.get(UnsafeRawBufferPointer(start: key, count: 16)), count >= 0 { found += 1 }
            }
            precondition(missing ? found == 0 : found == operations, "\(P.name): found \(found) of \(operations)")
        }
    }

    private static func synced(_ peer: P, writers: Int, operations: Int) -> Double {
        threads(writers, operations: operations) { thread, operations in
            let key = UnsafeMutableRawPointer.allocate(byteCount: 16, alignment: 16)
            defer { key.deallocate() }
            let value = [UInt8](repeating: 7, count: 100)
            value.withUnsafeBytes { value in
                for index in 0..<operations {
                    writeKey(thread * 1_000_000 + index, key)
                    do {
                        try peer.put(
                            batch: 1, { _ in (UnsafeRawBufferPointer(start: key, count: 16), value) }, sync: true)
                    } catch {
                        fatalError("\(error)")
                    }
                }
            }
        }
    }

    mutating func run(_ rows: Set<String>) throws {
        func wants(_ row: String) -> Bool { rows.isEmpty || rows.contains(row) }
        if wants("fillseq") {
            let peer = try open("seq")
            note("sequential fill, 1", try fill(peer, count: entries, batch: 1, sequential: true))
            try peer.close()
            let batched = try open("seq")
            note("sequential fill, batches of 100", try fill(batched, count: entries, batch: 100, sequential: true))
            try batched.close()
        }
        if wants("fillbatch") {
            let peer = try open("batch")
            note("random fill, batches of 100", try fill(peer, count: entries, batch: 100, sequential: false))
            try peer.close()
        }
        if wants("sync") {
            for writers in [1, 8, 32] {
                let peer = try open("sync")
                note(
                    "synced fill, \(writers)",
                    Self.synced(peer, writers: writers, operations: writers == 1 ? 3000 : 12_000))
                try peer.close()
            }
        }
        if wants("replay") {
            let peer = try open("replay", PeerOptions(writeBufferBytes: 512 << 20))
            _ = try fill(peer, count: 500_000, batch: 1, sequential: false)
            try peer.abandon()
            var opened: P?
            let time = try Self.seconds {
                opened = try open("replay", PeerOptions(writeBufferBytes: 512 << 20), fresh: false)
            }
            note("replay of 500,000, a second", 500_000 / time)
            try opened?.close()
        }
        if wants("read") {
            let peer = try open("main")
            note("random fill, 1 writer", try fill(peer, count: entries, batch: 1, sequential: false))
            note("memory after fill, bytes", Self.resident())
            try peer.settle()
            try peer.compact()
            _ = try peer.scan(reversed: false)
            for threads in [1, 2] {
                _ = Self.reads(peer, threads: threads, operations: 200_000, entries: entries, missing: false)
                note(
                    "random read, cached, \(threads)",
                    Self.reads(peer, threads: threads, operations: 1_000_000, entries: entries, missing: false))
                note(
                    "read of a missing key, \(threads)",
                    Self.reads(peer, threads: threads, operations: 2_000_000, entries: entries, missing: true))
            }
            for reversed in [false, true] {
                var seen = 0
                let time = try Self.seconds { seen = try peer.scan(reversed: reversed).entries }
                note("full scan, \(reversed ? "reverse" : "forward")", Double(seen) / time)
            }
            let starts = 50_000
            let time = try Self.seconds {
                let key = UnsafeMutableRawPointer.allocate(byteCount: 16, alignment: 16)
                defer { key.deallocate() }
                for index in 0..<starts {
                    Self.writeKey(Self.scrambled(index &* 7919, of: entries), key)
                    _ = try peer.scan(from: UnsafeRawBufferPointer(start: key, count: 16), count: 100)
                }
            }
            note("100 entries from a random start", Double(starts) / time)
            note("memory after reads, bytes", Self.resident())
            try peer.close()
            let small = try open("main", PeerOptions(cacheBytes: 32 << 20), fresh: false)
            _ = Self.reads(small, threads: 1, operations: 100_000, entries: entries, missing: false)
            note(
                "random read, 32 MiB cache",
                Self.reads(small, threads: 1, operations: 500_000, entries: entries, missing: false))
            try small.close()
        }
        for codec in ["none", "lz4", "zstd"] where wants("compact") {
            guard P.name != "leveldb" else { continue }
            let peer = try open("compact", PeerOptions(codec: codec, compactsInBackground: false))
            _ = try fill(peer, count: entries, batch: 100, sequential: false)
            try peer.settle()
            let time = try Self.seconds { try peer.compact() }
            note("compaction, \(codec), MB/s", Double(entries) * 116 / 1e6 / time)
            try peer.close()
        }
        try? FileManager.default.removeItem(atPath: directory)
    }
}
