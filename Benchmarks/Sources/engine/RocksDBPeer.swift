import CRocksDB
import Foundation

struct PeerFailure: Error { var message: String }

/// RocksDB, as Debian packages it, through its C interface.
final class RocksDBPeer: Peer, @unchecked Sendable {
    static let name = "rocksdb"
    private let db: OpaquePointer
    private let read = rocksdb_readoptions_create()
    private let write = rocksdb_writeoptions_create()
    private let synced = rocksdb_writeoptions_create()

    private let compactsInBackground: Bool

    init(directory: String, options: PeerOptions) throws {
        compactsInBackground = options.compactsInBackground
        let all = rocksdb_options_create()
        rocksdb_options_set_create_if_missing(all, 1)
        rocksdb_options_set_write_buffer_size(all, options.writeBufferBytes)
        rocksdb_options_set_max_open_files(all, -1)
        rocksdb_options_set_compression(all, ["none": 0, "snappy": 1, "lz4": 4, "zstd": 7][options.codec] ?? 1)
        if !options.compactsInBackground { rocksdb_options_set_disable_auto_compactions(all, 1) }
        rocksdb_options_set_max_background_jobs(all, 2)
        let table = rocksdb_block_based_options_create()
        rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom_full(10))
        rocksdb_block_based_options_set_block_cache(table, rocksdb_cache_create_lru(options.cacheBytes))
        if options.codec != "snappy" { rocksdb_block_based_options_set_block_size(table, 16 << 10) }
        rocksdb_options_set_block_based_table_factory(all, table)
        rocksdb_writeoptions_set_sync(synced, 1)
        var error: UnsafeMutablePointer<CChar>?
        guard let db = rocksdb_open(all, directory, &error) else {
            throw PeerFailure(message: error.map { String(cString: $0) } ?? "open failed")
        }
        self.db = db
    }

    private func check(_ error: UnsafeMutablePointer<CChar>?) throws {
        if let error { throw PeerFailure(message: String(cString: error)) }
    }

    func put(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) throws {
        var error: UnsafeMutablePointer<CChar>?
        rocksdb_put(
            db, write, key.baseAddress?.assumingMemoryBound(to: CChar.self), key.count,
            value.baseAddress?.assumingMemoryBound(to: CChar.self), value.count, &error)
        try check(error)
    }

    func put(batch: Int, _ entry: (Int) -> (UnsafeRawBufferPointer, UnsafeRawBufferPointer), sync: Bool) throws {
        let list = rocksdb_writebatch_create()
        defer { rocksdb_writebatch_destroy(list) }
        for index in 0..<batch {
            let (key, value) = entry(index)
            rocksdb_writebatch_put(
                list, key.baseAddress?.assumingMemoryBound(to: CChar.self), key.count,
                value.baseAddress?.assumingMemoryBound(to: CChar.self), value.count)
        }
        var error: UnsafeMutablePointer<CChar>?
        rocksdb_write(db, sync ? synced : write, list, &error)
        try check(error)
    }

    func putSequential(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) throws { try put(key, value) }

    func putSequential(batch: Int, _ entry: (Int) -> (UnsafeRawBufferPointer, UnsafeRawBufferPointer)) throws {
        try put(batch: batch, entry, sync: false)
    }

    func get(_ key: UnsafeRawBufferPointer) throws -> Int {
        var error: UnsafeMutablePointer<CChar>?
        let found = rocksdb_get_pinned(
            db, read, key.baseAddress?.assumingMemoryBound(to: CChar.self), key.count, &error)
        try check(error)
        guard let found else { return -1 }
        defer { rocksdb_pinnableslice_destroy(found) }
        var count = 0
        return rocksdb_pinnableslice_value(found, &count) == nil ? -1 : count
    }

    func scan(reversed: Bool) throws -> (entries: Int, bytes: Int) {
        let iterator = rocksdb_create_iterator(db, read)
        defer { rocksdb_iter_destroy(iterator) }
        var entries = 0
        var bytes = 0
        if reversed { rocksdb_iter_seek_to_last(iterator) } else { rocksdb_iter_seek_to_first(iterator) }
        while rocksdb_iter_valid(iterator) != 0 {
            var count = 0
            _ = rocksdb_iter_value(iterator, &count)
            bytes += count
            entries += 1
            if reversed { rocksdb_iter_prev(iterator) } else { rocksdb_iter_next(iterator) }
        }
        return (entries, bytes)
    }

    func scan(from key: UnsafeRawBufferPointer, count: Int) throws -> Int {
        let iterator = rocksdb_create_iterator(db, read)
        defer { rocksdb_iter_destroy(iterator) }
        rocksdb_iter_seek(iterator, key.baseAddress?.assumingMemoryBound(to: CChar.self), key.count)
        var entries = 0
        while entries < count, rocksdb_iter_valid(iterator) != 0 {
            var length = 0
            _ = rocksdb_iter_value(iterator, &length)
            entries += 1
            rocksdb_iter_next(iterator)
        }
        return entries
    }

    func settle() throws {
        let options = rocksdb_flushoptions_create()
        rocksdb_flushoptions_set_wait(options, 1)
        var error: UnsafeMutablePointer<CChar>?
        rocksdb_flush(db, options, &error)
        try check(error)
        var pending: UInt64 = 1
        while pending > 0 {
            usleep(50_000)
            var running: UInt64 = 0
            var waiting: UInt64 = 0
            rocksdb_property_int(db, "rocksdb.num-running-compactions", &running)
            rocksdb_property_int(db, "rocksdb.compaction-pending", &waiting)
            // Without background compaction, pending compactions wait for `compact`.
            pending = running + (compactsInBackground ? waiting : 0)
        }
    }

    func compact() throws {
        let options = rocksdb_compactoptions_create()
        defer { rocksdb_compactoptions_destroy(options) }
        // Without force, a single run is moved down unread, and nothing is measured.
        rocksdb_compactoptions_set_bottommost_level_compaction(options, 2)
        rocksdb_compact_range_opt(db, options, nil, 0, nil, 0)
    }
    func abandon() throws { rocksdb_close(db) }
    func close() throws { rocksdb_close(db) }
}
