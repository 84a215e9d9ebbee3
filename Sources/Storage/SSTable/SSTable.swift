import Compression
import DataModel
import Platform
import Primitives
import Synchronization

/// An open sstable: one immutable file.
///
/// The filter, the statistics and the roots of both indexes are in memory; index, data and tombstones blocks come
/// through the block cache.
/// **Thread safety**: all methods, from any thread. After `retire` the file is removed when the last reference goes.
public final class SSTable: Sendable {
    /// The number in the file's name; unique and rising within a data directory.
    public let id: UInt32
    public let path: String
    /// The format version of the file.
    public let version: UInt32
    public let statistics: SSTableStatistics
    /// The size of the file, in bytes.
    public let fileBytes: Int
    let filter: BloomFilter
    let root: Block
    /// The root of the range tombstone index; nil when there are no range tombstones.
    let tombstones: Block?
    let file: any File
    private let system: any FileSystem
    private let cache: BlockCache?
    private let isRetired = Atomic<Bool>(false)
    private let filterFalsePositives = Atomic<Int>(0)

    /// Opens an sstable: reads its footer, index roots, filter and statistics.
    /// - Throws: `damaged` when a checksum or a structure is wrong.
    public init(system: any FileSystem, path: String, id: UInt32, cache: BlockCache?) throws(StorageError) {
        self.id = id
        self.path = path
        self.system = system
        self.cache = cache
        let file: any File
        let size: Int
        do {
            file = try system.open(path, .read)
            size = try file.size()
        } catch { throw .file(error) }
        self.file = file
        fileBytes = size
        let footer = try SSTable.readFooter(file, size: size)
        version = footer.version
        root = try SSTable.readBlock(file, footer.root, size: size)
        let tombstoneBlock = try SSTable.readBlock(file, footer.tombstones, size: size)
        tombstones = tombstoneBlock.restartCount > 0 ? tombstoneBlock : nil
        let filterBytes = try SSTable.readBytes(file, footer.filter, size: size)
        guard let filter = filterBytes.withUnsafeBytes({ BloomFilter(decoding: $0) }) else {
            throw .damaged(path: path, offset: footer.filter.offset, "the Bloom filter does not parse")
        }
        self.filter = filter
        let statisticsBytes = try SSTable.readBytes(file, footer.statistics, size: size)
        do {
            statistics = try statisticsBytes.withUnsafeBytesTyped { (bytes) throws(ByteError) in
                try SSTableStatistics(decoding: bytes, version: footer.version)
            }
        } catch {
            throw .damaged(path: path, offset: footer.statistics.offset, "the statistics do not parse: \(error)")
        }
    }

    deinit {
        file.close()
        if isRetired.load(ordering: .relaxed) {
            cache?.remove(table: id)
            do { try system.remove(path) } catch {}  // a stray file is removed at the next start
        }
    }

    /// The number of row lookups (`find`) of partitions that the sstable does not have although the filter let them
    /// through. A lookup of a missing row in a partition that the sstable has does not count, nor do scans.
    public var falsePositives: Int { filterFalsePositives.load(ordering: .relaxed) }

    /// Marks the sstable as replaced: its file is removed with the last reference.
    func retire() { isRetired.store(true, ordering: .relaxed) }

    static func readFooter(_ file: any File, size: Int) throws(StorageError) -> SSTableFooter {
        guard size >= SSTableFormat.headerBytes + SSTableFormat.footerBytes else {
            throw .damaged(
                path: file.path, offset: 0,
                "\(size) bytes are too few for an sstable; the file was truncated or never finished")
        }
        let at = size - SSTableFormat.footerBytes
        let bytes = try readRaw(file, offset: at, count: SSTableFormat.footerBytes)
        if let version = SSTableFooter.version(of: bytes), !SSTableFormat.knownVersions.contains(version) {
            throw .unknownVersion(path: file.path, found: version, known: SSTableFormat.version)
        }
        guard let footer = SSTableFooter(decoding: bytes) else {
            throw .damaged(path: file.path, offset: at, "the footer's checksum, version or magic number is wrong")
        }
        return footer
    }

    static func readRaw(_ file: any File, offset: Int, count: Int) throws(StorageError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let outcome: Result<Void, StorageError> = bytes.withUnsafeMutableBytes { buffer in
            do throws(StorageError) { return .success(try fill(buffer, from: file, offset: offset)) } catch {
                return .failure(error)
            }
        }
        try outcome.get()
        return bytes
    }

    /// Reads exactly as many bytes as `buffer` has.
    static func fill(_ buffer: UnsafeMutableRawBufferPointer, from file: any File, offset: Int) throws(StorageError) {
        let got: Int
        do { got = try file.read(at: offset, into: buffer) } catch { throw .file(error) }
        guard got == buffer.count else {
            throw .damaged(
                path: file.path, offset: offset, "\(buffer.count) bytes expected, the file ends after \(got)")
        }
    }

    /// Verifies a stored part against its trailer and returns its codec, decompressed size and payload.
    static func check(
        _ stored: UnsafeRawBufferPointer, path: String, offset: Int
    ) throws(StorageError) -> (codec: BlockCodec, decompressed: Int, payload: UnsafeRawBufferPointer) {
        let payload = UnsafeRawBufferPointer(rebasing: stored[..<(stored.count - SSTableFormat.trailerBytes)])
        let code = stored[payload.count]
        let decompressed = UInt32(
            littleEndian: stored.loadUnaligned(fromByteOffset: payload.count + 1, as: UInt32.self))
        let expected = UInt64(littleEndian: stored.loadUnaligned(fromByteOffset: payload.count + 5, as: UInt64.self))
        let found = SSTableFormat.checksum(payload, codec: code, decompressed: decompressed, offset: offset)
        guard found == expected else {
            throw .damaged(
                path: path, offset: offset,
                "block of \(stored.count) bytes: checksum \(String(expected, radix: 16)) expected, \(String(found, radix: 16)) found"
            )
        }
        guard let codec = BlockCodec(code: code), decompressed <= SSTableFormat.largestBlockBytes else {
            throw .damaged(path: path, offset: offset, "unknown codec \(code)")
        }
        return (codec, Int(decompressed), payload)
    }

    private static func checkHandle(_ handle: BlockHandle, size: Int, path: String) throws(StorageError) {
        guard handle.count > SSTableFormat.trailerBytes, handle.count <= SSTableFormat.largestBlockBytes,
            handle.offset >= 0,
            size - handle.offset >= handle.count
        else {
            throw .damaged(
                path: path, offset: handle.offset,
                "a block of \(handle.count) bytes would lie outside the file's \(size)")
        }
    }

    /// Reads a stored part that is not in block form.
    static func readBytes(_ file: any File, _ handle: BlockHandle, size: Int) throws(StorageError) -> [UInt8] {
        try checkHandle(handle, size: size, path: file.path)
        let stored = try readRaw(file, offset: handle.offset, count: handle.count)
        return try stored.withUnsafeBytesTyped { (bytes) throws(StorageError) -> [UInt8] in
            let (codec, count, payload) = try check(bytes, path: file.path, offset: handle.offset)
            var out = ByteWriter(capacity: count)
            do { try BlockDecompressor.decompress(payload, codec: codec, decompressedCount: count, into: &out) } catch {
                throw .damaged(path: file.path, offset: handle.offset, "\(error)")
            }
            return out.toArray()
        }
    }

    /// Decodes stored bytes into a `Block`.
    static func decodeBlock(_ stored: UnsafeRawBufferPointer, path: String, offset: Int) throws(StorageError) -> Block {
        let (codec, count, payload) = try check(stored, path: path, offset: offset)
        let memory = UnsafeMutableRawPointer.allocate(byteCount: max(count, 1), alignment: 16)
        do {
            try BlockDecompressor.decompress(
                payload, codec: codec, into: UnsafeMutableRawBufferPointer(start: memory, count: count))
        } catch {
            memory.deallocate()
            throw .damaged(path: path, offset: offset, "\(error)")
        }
        do { return try Block(owning: memory, count: count) } catch {
            throw .damaged(
                path: path, offset: offset, "the block's checksum is correct, but its structure is invalid: \(error)")
        }
    }

    static func readBlock(_ file: any File, _ handle: BlockHandle, size: Int) throws(StorageError) -> Block {
        try checkHandle(handle, size: size, path: file.path)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: handle.count, alignment: 16)
        defer { buffer.deallocate() }
        try fill(buffer, from: file, offset: handle.offset)
        return try decodeBlock(UnsafeRawBufferPointer(buffer), path: file.path, offset: handle.offset)
    }

    /// Returns a block through the cache.
    @inline(__always) func block(_ handle: BlockHandle) throws(StorageError) -> Block {
        guard let cache else { return try SSTable.readBlock(file, handle, size: fileBytes) }
        let key = BlockCache.Key(table: id, offset: handle.offset)
        if let block = cache.find(key) { return block }
        let block = try SSTable.readBlock(file, handle, size: fileBytes)
        cache.insert(key, block)
        return block
    }

    /// Returns a block if it is in the cache.
    func cached(_ handle: BlockHandle) -> Block? { cache?.find(BlockCache.Key(table: id, offset: handle.offset)) }

    func cache(_ handle: BlockHandle, _ block: Block) {
        cache?.insert(BlockCache.Key(table: id, offset: handle.offset), block)
    }

    func handle(_ value: UnsafeRawBufferPointer) throws(StorageError) -> BlockHandle {
        do { return try BlockHandle(decoding: value) } catch {
            throw .damaged(path: path, offset: 0, "an index entry does not parse: \(error)")
        }
    }

    /// A row that was found, and the block that owns its memory.
    struct Found {
        let block: Block
        let row: UnsafeRawBufferPointer
    }

    /// Returns the row with exactly this key. The caller checks the filter first.
    func find(_ key: UnsafeRawBufferPointer) throws(StorageError) -> Found? {
        var index: Block?
        var data: Block?
        if let inRoot = root.find(key) {
            let itsIndex = try block(try handle(inRoot.value))
            index = itsIndex
            if let inIndex = itsIndex.find(key) {
                let itsData = try block(try handle(inIndex.value))
                if let found = itsData.find(key), found.isExact { return Found(block: itsData, row: found.value) }
                data = itsData
            }
        }
        if try !hasPartition(of: key, index, data) { filterFalsePositives.add(1, ordering: .relaxed) }
        return nil
    }

    /// Returns whether the sstable has a row or a range tombstone of the key's partition, after a lookup of the key
    /// found no row. Reads no data block.
    ///
    /// The lookup has passed the root, `index` and `data`. No row lies between the lower and the upper bound of the
    /// partition exactly if at each of these levels both bounds lead to the same entry: index entries that differ are
    /// separated by a key that begins with the partition, and such a key is a row's, or the beginning of one.
    private func hasPartition(
        of key: UnsafeRawBufferPointer, _ index: Block?, _ data: Block?
    ) throws(StorageError) -> Bool {
        let count = KeyView.partitionCount(of: key)
        var bound = [UInt8](key[..<count])
        bound.append(0xff)
        return try bound.withUnsafeBytesTyped { (upper) throws(StorageError) in
            let lower = UnsafeRawBufferPointer(rebasing: upper[..<count])
            for block in [root, index, data] {
                guard let block else { continue }
                if block.find(lower)?.value.baseAddress != block.find(upper)?.value.baseAddress { return true }
            }
            return try hasTombstone(from: lower, to: upper)
        }
    }

    /// Whether `range` overlaps the key range of the sstable.
    func overlaps(_ range: KeyRange) -> Bool {
        compareBytes(statistics.firstKey, range.end) < 0 && compareBytes(range.start, statistics.lastKey) <= 0
    }
}
