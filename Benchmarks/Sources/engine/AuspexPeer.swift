import Compression
import DataModel
import Foundation
import LinuxPlatform
import Platform
import Primitives
import Storage

/// Our own engine, through the calls that a node makes: it encodes mutations, applies them, and flushes the log before
/// each acknowledgement.
final class AuspexPeer: Peer, @unchecked Sendable {
    static let name = "auspex"
    private let pools: ThreadPools
    private let engine: StorageEngine
    private let table: TableStore
    private static let tableID = Primitives.UUID(high: 1, low: 1)

    /// The buffers of one thread.
    private final class Scratch {
        var key = ByteWriter(capacity: 64)
        var mutations = MutationWriter(capacity: 4096)
    }
    private let scratches = Mutex<[Scratch]>([])

    init(directory: String, options: PeerOptions) throws {
        pools = ThreadPools()
        var storage = StorageOptions()
        storage.memtableBytes = 2 * options.writeBufferBytes
        storage.cacheBytes = options.cacheBytes
        storage.compactionBytesPerSecond = 0
        storage.log.boot = 1
        storage.log.totalBytes = 64 << 30
        engine = try StorageEngine(
            system: PosixFileSystem(), time: SystemTime(), background: pools, directory: directory, options: storage)
        var tableOptions = TableStoreOptions()
        switch options.codec {
        case "none": tableOptions.files.codec = .none
        case "lz4": tableOptions.files.codec = .lz4
        case "zstd": tableOptions.files.codec = .zstd(level: 3)
        default: tableOptions.files.codec = .snappy
        }
        tableOptions.files.blockBytes = options.codec == "snappy" ? 4 << 10 : 16 << 10
        if !options.compactsInBackground { tableOptions.compaction = nil }
        table = try engine.openTable(Self.tableID, name: "bench/t", options: tableOptions)
        try engine.start()
    }

    private func withScratch<R>(_ body: (Scratch) throws -> R) rethrows -> R {
        let scratch = scratches.take() ?? Scratch()
        defer { scratches.give(scratch) }
        return try body(scratch)
    }

    private func encodeKey(_ key: UnsafeRawBufferPointer, into out: inout ByteWriter) throws {
        KeyEncoding.beginPartition(into: &out)
        KeyEncoding.addPartitionComponent(key, isOnly: true, into: &out)
        try KeyEncoding.endPartition(of: &out)
        KeyEncoding.beginRow(into: &out)
    }

    /// Rising keys are stored as clustering keys of one partition, as this data model has it.
    private func encodeSequential(_ key: UnsafeRawBufferPointer, into out: inout ByteWriter) throws {
        KeyEncoding.beginPartition(into: &out)
        out.write(Array("partition".utf8))
        try KeyEncoding.endPartition(of: &out)
        KeyEncoding.beginRow(into: &out)
        try KeyEncoding.addClusteringComponent(key, type: .blob, descending: false, into: &out)
    }

    private func add(_ scratch: Scratch, _ value: UnsafeRawBufferPointer, _ timestamp: Int64) {
        scratch.mutations.beginTable(Self.tableID)
        scratch.mutations.beginRow(key: scratch.key, timestamp: timestamp, liveness: true)
        scratch.mutations.cell(column: 0, timestamp: timestamp, value: value)
        scratch.mutations.endRow()
        scratch.mutations.endTable()
    }

    private var now: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
    }

    private func commit(_ scratch: Scratch, sync: Bool) throws {
        try engine.apply(scratch.mutations.out.bytes)
        if sync { try engine.syncLog() } else { try engine.flushLog() }
    }

    func put(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) throws {
        try withScratch { scratch in
            scratch.mutations.removeAll()
            try encodeKey(key, into: &scratch.key)
            add(scratch, value, now)
            try commit(scratch, sync: false)
        }
    }

    func put(batch: Int, _ entry: (Int) -> (UnsafeRawBufferPointer, UnsafeRawBufferPointer), sync: Bool) throws {
        try withScratch { scratch in
            scratch.mutations.removeAll()
            let timestamp = now
            for index in 0..<batch {
                let (key, value) = entry(index)
                try encodeKey(key, into: &scratch.key)
                add(scratch, value, timestamp)
            }
            try commit(scratch, sync: sync)
        }
    }

    func putSequential(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) throws {
        try putSequential(batch: 1) { _ in (key, value) }
    }

    func putSequential(batch: Int, _ entry: (Int) -> (UnsafeRawBufferPointer, UnsafeRawBufferPointer)) throws {
        try withScratch { scratch in
            scratch.mutations.removeAll()
            let timestamp = now
            scratch.mutations.beginTable(Self.tableID)
            for index in 0..<batch {
                let (key, value) = entry(index)
                try encodeSequential(key, into: &scratch.key)
                scratch.mutations.beginRow(key: scratch.key, timestamp: timestamp, liveness: true)
                scratch.mutations.cell(column: 0, timestamp: timestamp, value: value)
                scratch.mutations.endRow()
            }
            scratch.mutations.endTable()
            try commit(scratch, sync: false)
        }
    }

    func get(_ key: UnsafeRawBufferPointer) throws -> Int {
        try withScratch { scratch in
            try encodeKey(key, into: &scratch.key)
            var found = -1
            try table.get(scratch.key.bytes) { row in
                var cursor = row.cells
                if cursor.advance() { found = cursor.value.count }
            }
            return found
        }
    }

    func scan(reversed: Bool) throws -> (entries: Int, bytes: Int) {
        var entries = 0
        var bytes = 0
        try table.scan(.all, reversed: reversed) { _, row in
            entries += 1
            var cursor = row.cells
            if cursor.advance() { bytes += cursor.value.count }
            return true
        }
        return (entries, bytes)
    }

    func scan(from key: UnsafeRawBufferPointer, count: Int) throws -> Int {
        var start = ByteWriter(capacity: 64)
        try encodeKey(key, into: &start)
        var entries = 0
        try table.scan(KeyRange(start: start.toArray(), end: KeyRange.all.end), reversed: false) { _, row in
            var cursor = row.cells
            if cursor.advance() { entries += 1 }
            return entries < count
        }
        return entries
    }

    func settle() throws {
        try engine.flush(table)
        repeat { usleep(20_000) } while !engine.compactions().running.isEmpty
        usleep(50_000)
        while !engine.compactions().running.isEmpty { usleep(20_000) }
    }

    func compact() throws { try engine.compactAll(table) }

    func abandon() throws {
        try engine.closeQuickly()
        pools.stop()
    }

    func close() throws {
        try engine.close()
        pools.stop()
    }
}

/// A list protected by a lock.
final class Mutex<Value>: @unchecked Sendable {
    private var mutex = pthread_mutex_t()
    private var value: Value

    init(_ value: Value) {
        self.value = value
        pthread_mutex_init(&mutex, nil)
    }

    func withLock<R>(_ body: (inout Value) throws -> R) rethrows -> R {
        pthread_mutex_lock(&mutex)
        defer { pthread_mutex_unlock(&mutex) }
        return try body(&value)
    }
}

extension Mutex {
    func take<Element>() -> Element? where Value == [Element] { withLock { $0.popLast() } }
    func give<Element>(_ element: Element) where Value == [Element] { withLock { $0.append(element) } }
}
