import Compression
import DataModel
import Platform
import Primitives

/// Options for the layout of an sstable.
public struct SSTableOptions: Sendable, Equatable {
    public var codec: BlockCodec = .lz4
    /// The size at which a data block ends, in bytes before compression.
    public var blockBytes = 16 << 10
    /// `bloom_filter_fp_chance`.
    public var bloomFalsePositiveRate = 0.01

    public init() {}
}

/// Writes one sstable from entries in key order.
///
/// 1. Rows fill data blocks. Each full block is compressed, gets its trailer and is appended. The index gets its last
///    key, shortened as far as it still separates the block from the next one.
/// 2. Range tombstones may be added before, between and after rows. They fill blocks of their own, appended when full,
///    with an index of their own by first start key.
/// 3. `finish` writes both indexes with their roots, the filter, the statistics and the footer, and syncs.
///
/// The file counts only once the manifest names it: after a crash the next start removes it as a stray.
/// **Thread safety**: one thread at a time.
public final class SSTableWriter {
    public let path: String
    private let file: any File
    private let system: any FileSystem
    private let options: SSTableOptions
    private let compressor: BlockCompressor
    private var block: BlockWriter
    private var index = IndexWriter(rootKey: .last)
    private var tombstones = BlockWriter(capacity: SSTableFormat.tombstoneBlockBytes)
    private var tombstoneIndex = IndexWriter(rootKey: .first)
    /// The start of the first tombstone in `tombstones`; the start of the first tombstone of all; the end of the last
    /// one.
    private var tombstonesStart: [UInt8] = []
    private var tombstonesFirst: [UInt8]?
    private var tombstonesEnd: [UInt8]?
    private var pendingHandle: BlockHandle?
    private var pendingLastKey = ByteWriter(capacity: 256)
    private var compressed: ByteWriter
    private var buffer: ByteWriter
    /// Bytes written to the file, without those in `buffer`.
    private var written = 0
    private var digest: UInt64 = 0
    /// The hashes of the partitions so far. In pieces, because a single array would need three times its size while
    /// growing.
    private var hashes: [[UInt64]] = []
    private var hashCount = 0
    private var partition = ByteWriter(capacity: 128)
    private var partitionBytes = 0
    private var lastKey = ByteWriter(capacity: 256)
    private var minClustering = ByteWriter(capacity: 64)
    private var maxClustering = ByteWriter(capacity: 64)
    private var statistics = SSTableStatistics()

    public init(system: any FileSystem, path: String, options: SSTableOptions, createdAt: Int64, sources: Int)
        throws(StorageError)
    {
        self.path = path
        self.system = system
        self.options = options
        do { file = try system.open(path, .create) } catch { throw .file(error) }
        compressor = BlockCompressor(options.codec)
        block = BlockWriter(capacity: options.blockBytes)
        compressed = ByteWriter(capacity: options.blockBytes * 2)
        buffer = ByteWriter(capacity: SSTableFormat.digestPieceBytes + options.blockBytes * 2)
        statistics.createdAt = createdAt
        statistics.sources = sources
        statistics.codec = options.codec.name
        statistics.filterRateRequested = options.bloomFalsePositiveRate
        buffer.writeLE(SSTableFormat.magic)
        buffer.writeLE(SSTableFormat.version)
        buffer.writeLE(UInt32(0))
    }

    /// The size of the file so far, in bytes.
    public var byteCount: Int { written + buffer.count }
    public var isEmpty: Bool { statistics.rowCount == 0 && statistics.rangeTombstoneCount == 0 }

    /// Adds a row; keys must be strictly ascending.
    /// - Throws: `damaged` when they are not: whatever the rows were read from is.
    public func add(key: UnsafeRawBufferPointer, row: UnsafeRawBufferPointer) throws(StorageError) {
        if statistics.rowCount > 0 {
            guard compareBytes(lastKey.bytes, key) < 0 else { throw outOfOrder("row", key) }
        } else {
            statistics.firstKey = [UInt8](key)
        }
        if let handle = pendingHandle { indexBlock(handle, next: key) }
        let partitionCount = KeyView.partitionCount(of: key)
        let itsPartition = UnsafeRawBufferPointer(rebasing: key[..<partitionCount])
        if statistics.rowCount == 0 || compareBytes(itsPartition, partition.bytes) != 0 { beginPartition(itsPartition) }
        if key.count > partitionCount + 1 {
            let clustering = UnsafeRawBufferPointer(rebasing: key[partitionCount...])
            if minClustering.count == 0 || compareBytes(clustering, minClustering.bytes) < 0 {
                minClustering.removeAll()
                minClustering.write(clustering)
            }
            if maxClustering.count == 0 || compareBytes(clustering, maxClustering.bytes) > 0 {
                maxClustering.removeAll()
                maxClustering.write(clustering)
            }
        }
        statistics.recordRow(RowView(row))
        statistics.rawBytes += key.count + row.count
        partitionBytes += key.count + row.count
        block.add(key: key, value: row)
        lastKey.removeAll()
        lastKey.write(key)
        if block.estimatedBytes >= options.blockBytes { try endBlock() }
    }

    private func outOfOrder(_ what: String, _ key: UnsafeRawBufferPointer) -> StorageError {
        let first = key.prefix(64).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        return .damaged(
            path: path, offset: byteCount, "a \(what) to be written is out of order; its key begins \(first)")
    }

    /// Adds a range tombstone; they must be in order and must not overlap.
    /// - Throws: `damaged` when they are not.
    public func addTombstone(_ tombstone: RangeTombstone) throws(StorageError) {
        if let end = tombstonesEnd, compareBytes(end, tombstone.start) > 0 {
            throw tombstone.start.withUnsafeBytes { outOfOrder("range tombstone", $0) }
        }
        if tombstones.isEmpty { tombstonesStart = tombstone.start }
        statistics.rangeTombstoneCount += 1
        statistics.recordTimestamp(tombstone.deletion.timestamp)
        statistics.recordLocalDeletion(tombstone.deletion.localDeletion)
        tombstone.start.withUnsafeBytes { start in
            addHash(UnsafeRawBufferPointer(rebasing: start[..<KeyView.partitionCount(of: start)]))
            tombstone.encodedValue.withUnsafeBytes { tombstones.add(key: start, value: $0) }
        }
        if tombstonesFirst == nil { tombstonesFirst = tombstone.start }
        tombstonesEnd = tombstone.end
        if tombstones.estimatedBytes >= SSTableFormat.tombstoneBlockBytes { try endTombstones() }
    }

    private func endTombstones() throws(StorageError) {
        let handle = try append(tombstones.finish(), codec: options.codec)
        tombstonesStart.withUnsafeBytes { tombstoneIndex.add(key: $0, handle: handle) }
        tombstones.removeAll()
    }

    private func beginPartition(_ bytes: UnsafeRawBufferPointer) {
        statistics.largestPartitionBytes = max(statistics.largestPartitionBytes, partitionBytes)
        partitionBytes = 0
        statistics.partitionCount += 1
        partition.removeAll()
        partition.write(bytes)
        addHash(bytes)
    }

    private func addHash(_ partition: UnsafeRawBufferPointer) {
        let pieceCount = 8192
        if hashCount % pieceCount == 0 {
            hashes.append([])
            hashes[hashes.count - 1].reserveCapacity(hashes.count == 1 ? 0 : pieceCount)
        }
        hashes[hashes.count - 1].append(BloomFilter.hash(partition))
        hashCount += 1
    }

    private func endBlock() throws(StorageError) {
        pendingLastKey.removeAll()
        pendingLastKey.write(block.lastKeyBytes)
        let bytes = block.finish()
        pendingHandle = try append(bytes, codec: options.codec)
        statistics.dataBlockCount += 1
        block.removeAll()
    }

    /// Adds a data block to the index, under a short key that is not below its last key and is below `next`.
    private func indexBlock(_ handle: BlockHandle, next: UnsafeRawBufferPointer?) {
        pendingHandle = nil
        var separator = pendingLastKey.bytes
        if let next {
            let shared = BlockWriter.sharedPrefix(separator, next)
            if shared + 1 < next.count && shared + 1 < separator.count {
                separator = UnsafeRawBufferPointer(rebasing: next[...shared])
            }
        }
        index.add(key: separator, handle: handle)
    }

    /// Appends a part with its trailer; compressed if that saves at least an eighth.
    private func append(_ bytes: UnsafeRawBufferPointer, codec: BlockCodec) throws(StorageError) -> BlockHandle {
        let offset = byteCount
        guard bytes.count < SSTableFormat.largestBlockBytes - SSTableFormat.trailerBytes else {
            throw .overloaded(
                "\(path) would have a part of \(bytes.count) bytes; at most \(SSTableFormat.largestBlockBytes) can be read back"
            )
        }
        var code = BlockCodec.none.code
        compressed.removeAll()
        if codec != .none {
            do { try compressor.compress(bytes, into: &compressed) } catch {
                throw .damaged(
                    path: path, offset: offset,
                    "the codec \(codec.name) could not compress a block of \(bytes.count) bytes")
            }
            if compressed.count < bytes.count - bytes.count / 8 { code = codec.code }
        }
        let stored = code == BlockCodec.none.code ? bytes : compressed.bytes
        buffer.write(stored)
        buffer.write(code)
        buffer.writeLE(UInt32(bytes.count))
        buffer.writeLE(SSTableFormat.checksum(stored, codec: code, decompressed: UInt32(bytes.count), offset: offset))
        let handle = BlockHandle(offset: offset, count: stored.count + SSTableFormat.trailerBytes)
        try writeFullPieces()
        return handle
    }

    /// Writes full pieces of the buffer, so that the digest's pieces are at fixed offsets.
    private func writeFullPieces() throws(StorageError) {
        guard buffer.count >= SSTableFormat.digestPieceBytes else { return }
        var from = 0
        while buffer.count - from >= SSTableFormat.digestPieceBytes {
            try writePiece(UnsafeRawBufferPointer(rebasing: buffer.bytes[from..<from + SSTableFormat.digestPieceBytes]))
            from += SSTableFormat.digestPieceBytes
        }
        let rest = [UInt8](UnsafeRawBufferPointer(rebasing: buffer.bytes[from...]))
        buffer.removeAll()
        buffer.write(rest)
    }

    private func writePiece(_ piece: UnsafeRawBufferPointer) throws(StorageError) {
        digest = Checksum.xxh3(piece, seed: digest)
        do { try file.write(piece, at: written) } catch { throw .file(error) }
        written += piece.count
    }

    /// Completes and syncs the file. Returns the statistics written to it.
    public func finish() throws(StorageError) -> SSTableStatistics {
        if !block.isEmpty { try endBlock() }
        if let handle = pendingHandle { indexBlock(handle, next: nil) }
        if !tombstones.isEmpty { try endTombstones() }
        statistics.largestPartitionBytes = max(statistics.largestPartitionBytes, partitionBytes)
        statistics.lastKey = lastKey.toArray()
        statistics.minClustering = minClustering.toArray()
        statistics.maxClustering = maxClustering.toArray()
        if let first = tombstonesFirst, statistics.rowCount == 0 || compareBytes(first, statistics.firstKey) < 0 {
            statistics.firstKey = first
        }
        if let end = tombstonesEnd, statistics.rowCount == 0 || compareBytes(end, statistics.lastKey) > 0 {
            statistics.lastKey = end
        }
        let rootHandle = try index.finish { (bytes) throws(StorageError) in try self.append(bytes, codec: .none) }
        let tombstoneHandle = try tombstoneIndex.finish { (bytes) throws(StorageError) in
            try self.append(bytes, codec: .none)
        }
        let filter = BloomFilter(
            hashes: hashes.joined(), count: hashCount, falsePositiveRate: options.bloomFalsePositiveRate)
        statistics.filterRateReached = filter.reachedRate
        var filterBytes = ByteWriter(capacity: filter.byteCount + 16)
        filter.encode(into: &filterBytes)
        let filterHandle = try append(filterBytes.bytes, codec: .none)
        let statisticsHandle = try statistics.encode().withUnsafeBytesTyped { (bytes) throws(StorageError) in
            try append(bytes, codec: .none)
        }
        if buffer.count > 0 { try writePiece(buffer.bytes) }
        let footer = SSTableFooter(
            root: rootHandle, tombstones: tombstoneHandle, filter: filterHandle, statistics: statisticsHandle,
            digest: digest
        ).encode()
        do {
            try footer.withUnsafeBytesTyped { (bytes) throws(FileError) in try file.write(bytes, at: written) }
            written += footer.count
            buffer.removeAll()
            try file.sync()
        } catch { throw .file(error) }
        file.close()
        return statistics
    }

    /// Closes and removes the unfinished file.
    public func abandon() {
        file.close()
        do { try system.remove(path) } catch {}  // a stray file is removed at the next start
    }
}
