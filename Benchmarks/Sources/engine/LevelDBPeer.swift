import CLevelDB
import Foundation

/// LevelDB, as Debian packages it, through its C interface.
final class LevelDBPeer: Peer, @unchecked Sendable {
    static let name = "leveldb"
    private let db: OpaquePointer
    private let read = leveldb_readoptions_create()
    private let write = leveldb_writeoptions_create()
    private let synced = leveldb_writeoptions_create()

    init(directory: String, options: PeerOptions) throws {
        guard options.codec == "snappy" else { throw PeerFailure(message: "LevelDB knows snappy only") }
        let all = leveldb_options_create()
        leveldb_options_set_create_if_missing(all, 1)
        leveldb_options_set_write_buffer_size(all, options.writeBufferBytes)
        leveldb_options_set_max_open_files(all, 10_000)
        leveldb_options_set_compression(all, 1)
        leveldb_options_set_filter_policy(all, leveldb_filterpolicy_create_bloom(10))
        leveldb_options_set_cache(all, leveldb_cache_create_lru(options.cacheBytes))
        leveldb_writeoptions_set_sync(synced, 1)
        var error: UnsafeMutablePointer<CChar>?
        guard let db = leveldb_open(all, directory, &error) else {
            throw PeerFailure(message: error.map { String(cString: $0) } ?? "open failed")
        }
        self.db = db
    }

    private func check(_ error: UnsafeMutablePointer<CChar>?) throws {
        if let error { throw PeerFailure(message: String(cString: error)) }
    }

    func put(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) throws {
        var error: UnsafeMutablePointer<CChar>?
        leveldb_put(
            db, write, key.baseAddress?.assumingMemoryBound(to: CChar.self), key.count,
            value.baseAddress?.assumingMemoryBound(to: CChar.self), value.count, &error)
        try check(error)
    }

    func put(batch: Int, _ entry: (Int) -> (UnsafeRawBufferPointer, UnsafeRawBufferPointer), sync: Bool) throws {
        let list = leveldb_writebatch_create()
        defer { leveldb_writebatch_destroy(list) }
        for index in 0..<batch {
            let (key, value) = entry(index)
            leveldb_writebatch_put(
                list, key.baseAddress?.assumingMemoryBound(to: CChar.self), key.count,
                value.baseAddress?.assumingMemoryBound(to: CChar.self), value.count)
        }
        var error: UnsafeMutablePointer<CChar>?
        leveldb_write(db, sync ? synced : write, list, &error)
        try check(error)
    }

    func putSequential(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) throws { try put(key, value) }

    func putSequential(batch: Int, _ entry: (Int) -> (UnsafeRawBufferPointer, UnsafeRawBufferPointer)) throws {
        try put(batch: batch, entry, sync: false)
    }

    func get(_ key: UnsafeRawBufferPointer) throws -> Int {
        var error: UnsafeMutablePointer<CChar>?
        var count = 0
        let found = leveldb_get(
            db, read, key.baseAddress?.assumingMemoryBound(to: CChar.self), key.count, &count, &error)
        try check(error)
        guard let found else { return -1 }
        leveldb_free(found)
        return count
    }

    func scan(reversed: Bool) throws -> (entries: Int, bytes: Int) {
        let iterator = leveldb_create_iterator(db, read)
        defer { leveldb_iter_destroy(iterator) }
        var entries = 0
        var bytes = 0
        if reversed { leveldb_iter_seek_to_last(iterator) } else { leveldb_iter_seek_to_first(iterator) }
        while leveldb_iter_valid(iterator) != 0 {
            var count = 0
            _ = leveldb_iter_value(iterator, &count)
            bytes += count
            entries += 1
            if reversed { leveldb_iter_prev(iterator) } else { leveldb_iter_next(iterator) }
        }
        return (entries, bytes)
    }

    func scan(from key: UnsafeRawBufferPointer, count: Int) throws -> Int {
        let iterator = leveldb_create_iterator(db, read)
        defer { leveldb_iter_destroy(iterator) }
        leveldb_iter_seek(iterator, key.baseAddress?.assumingMemoryBound(to: CChar.self), key.count)
        var entries = 0
        while entries < count, leveldb_iter_valid(iterator) != 0 {
            var length = 0
            _ = leveldb_iter_value(iterator, &length)
            entries += 1
            leveldb_iter_next(iterator)
        }
        return entries
    }

    func settle() throws {
        // LevelDB neither flushes on demand nor reports when it is idle. Compacting an empty range makes it flush; then
        // wait until its files stop changing.
        leveldb_compact_range(db, "~", 1, "~~", 2)
        var before = ""
        while true {
            usleep(500_000)
            let text = leveldb_property_value(db, "leveldb.stats")
            let now = text.map { String(cString: $0) } ?? ""
            leveldb_free(text)
            if now == before { return }
            before = now
        }
    }

    func compact() throws { leveldb_compact_range(db, nil, 0, nil, 0) }
    func abandon() throws { leveldb_close(db) }
    func close() throws { leveldb_close(db) }
}
