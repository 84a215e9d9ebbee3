import DataModel
import Platform
import Primitives

/// A problem found in an sstable's file.
public struct SSTableProblem: Sendable, Equatable {
    /// The part of the file: `data block 17`, `index block 2`, `filter`, `footer`, ...
    public var place: String
    /// The offset from the start of the file, in bytes.
    public var offset: Int
    public var message: String

    public init(place: String, offset: Int, message: String) {
        self.place = place
        self.offset = offset
        self.message = message
    }
}

/// Reads and checks every byte of an sstable's file.
///
/// 1. The footer gives the places of everything else; without a valid one the check ends.
/// 2. Header, roots, index blocks, filter, statistics: checksum and structure.
/// 3. Every data block in the index: checksum, structure, keys in order and not above the index key, partitions in the
///    filter, valid keys and rows.
/// 4. Every tombstones block: checksum, structure, first key equal to the index key, in order, not overlapping, each in
///    one partition, partitions in the filter.
/// 5. Counts against the statistics, then the digest over the whole file, which also covers bytes between the parts.
public struct SSTableVerifier {
    /// The result of a verification.
    public struct Report: Sendable {
        public var problems: [SSTableProblem] = []
        public var dataBlocks = 0
        public var rows = 0
        public var rangeTombstones = 0
        public var fileBytes = 0
        public var isGood: Bool { problems.isEmpty }
    }

    private let system: any FileSystem
    private let path: String

    public init(system: any FileSystem, path: String) {
        self.system = system
        self.path = path
    }

    /// Verifies the file and returns all problems found.
    ///
    /// - Throws: `file` when the file cannot be read at all.
    public func verify() throws(StorageError) -> Report {
        var report = Report()
        let file: any File
        do {
            file = try system.open(path, .read)
            report.fileBytes = try file.size()
        } catch { throw .file(error) }
        defer { file.close() }
        let size = report.fileBytes
        let footer: SSTableFooter
        do { footer = try SSTable.readFooter(file, size: size) } catch {
            note(error, "footer", max(0, size - SSTableFormat.footerBytes), &report)
            return report
        }
        checkHeader(file, footer.version, &report)
        let filter = checkFilter(file, footer.filter, size, &report)
        let statistics = checkStatistics(file, footer, size, &report)
        if let root = checkBlock(file, footer.root, size, "index root", &report) {
            checkIndex(file, root, size, filter, &report)
        }
        if let root = checkBlock(file, footer.tombstones, size, "tombstone root", &report) {
            checkTombstones(file, root, size, filter, &report)
        }
        if let statistics, report.isGood {
            if statistics.rowCount != report.rows || statistics.dataBlockCount != report.dataBlocks {
                report.problems.append(
                    SSTableProblem(
                        place: "statistics", offset: footer.statistics.offset,
                        message:
                            "\(statistics.rowCount) rows in \(statistics.dataBlockCount) blocks expected, \(report.rows) in \(report.dataBlocks) found"
                    ))
            }
            if statistics.rangeTombstoneCount != report.rangeTombstones {
                report.problems.append(
                    SSTableProblem(
                        place: "statistics", offset: footer.statistics.offset,
                        message:
                            "\(statistics.rangeTombstoneCount) range tombstones expected, \(report.rangeTombstones) found"
                    ))
            }
        }
        try checkDigest(file, footer, size, &report)
        return report
    }

    private func note(_ error: StorageError, _ place: String, _ offset: Int, _ report: inout Report) {
        if case .damaged(_, let at, let what) = error {
            report.problems.append(SSTableProblem(place: place, offset: at, message: what))
        } else {
            report.problems.append(SSTableProblem(place: place, offset: offset, message: error.description))
        }
    }

    private func checkHeader(_ file: any File, _ version: UInt32, _ report: inout Report) {
        do {
            let bytes = try SSTable.readRaw(file, offset: 0, count: SSTableFormat.headerBytes)
            var expected = ByteWriter(capacity: 16)
            expected.writeLE(SSTableFormat.magic)
            expected.writeLE(version)
            expected.writeLE(UInt32(0))
            if bytes != expected.toArray() {
                report.problems.append(
                    SSTableProblem(place: "header", offset: 0, message: "magic number, version or padding is wrong"))
            }
        } catch { note(error, "header", 0, &report) }
    }

    private func checkFilter(_ file: any File, _ handle: BlockHandle, _ size: Int, _ report: inout Report)
        -> BloomFilter?
    {
        do {
            let bytes = try SSTable.readBytes(file, handle, size: size)
            if let filter = bytes.withUnsafeBytes({ BloomFilter(decoding: $0) }) { return filter }
            report.problems.append(
                SSTableProblem(place: "filter", offset: handle.offset, message: "it is not a Bloom filter"))
        } catch { note(error, "filter", handle.offset, &report) }
        return nil
    }

    private func checkStatistics(_ file: any File, _ footer: SSTableFooter, _ size: Int, _ report: inout Report)
        -> SSTableStatistics?
    {
        let handle = footer.statistics
        do {
            let bytes = try SSTable.readBytes(file, handle, size: size)
            do {
                return try bytes.withUnsafeBytesTyped { (raw) throws(ByteError) in
                    try SSTableStatistics(decoding: raw, version: footer.version)
                }
            } catch {
                report.problems.append(
                    SSTableProblem(place: "statistics", offset: handle.offset, message: "they do not parse: \(error)"))
            }
        } catch { note(error, "statistics", handle.offset, &report) }
        return nil
    }

    private func checkBlock(
        _ file: any File, _ handle: BlockHandle, _ size: Int, _ place: String, _ report: inout Report
    ) -> Block? {
        do { return try SSTable.readBlock(file, handle, size: size) } catch {
            note(error, place, handle.offset, &report)
            return nil
        }
    }

    private func checkIndex(
        _ file: any File, _ root: Block, _ size: Int, _ filter: BloomFilter?, _ report: inout Report
    ) {
        let rootCursor = BlockCursor()
        rootCursor.open(root)
        var lastKey: [UInt8]?
        var indexNumber = 0
        var moreIndex = rootCursor.seekToFirst()
        while moreIndex {
            defer {
                indexNumber += 1
                moreIndex = rootCursor.advance()
            }
            guard let handle = handle(rootCursor.value, "index root", &report),
                let index = checkBlock(file, handle, size, "index block \(indexNumber)", &report)
            else { continue }
            let cursor = BlockCursor()
            cursor.open(index)
            var more = cursor.seekToFirst()
            while more {
                let place = "data block \(report.dataBlocks)"
                report.dataBlocks += 1
                if let handle = self.handle(cursor.value, "index block \(indexNumber)", &report),
                    let data = checkBlock(file, handle, size, place, &report)
                {
                    checkData(data, place, handle.offset, separator: [UInt8](cursor.key), filter, &lastKey, &report)
                }
                more = cursor.advance()
            }
        }
    }

    private func handle(_ value: UnsafeRawBufferPointer, _ place: String, _ report: inout Report) -> BlockHandle? {
        do { return try BlockHandle(decoding: value) } catch {
            report.problems.append(
                SSTableProblem(place: place, offset: 0, message: "an entry does not parse: \(error)"))
            return nil
        }
    }

    private func checkData(
        _ block: Block, _ place: String, _ offset: Int, separator: [UInt8], _ filter: BloomFilter?,
        _ lastKey: inout [UInt8]?,
        _ report: inout Report
    ) {
        let cursor = BlockCursor()
        cursor.open(block)
        var more = cursor.seekToFirst()
        while more {
            let key = [UInt8](cursor.key)
            func wrong(_ what: String) {
                report.problems.append(SSTableProblem(place: place, offset: offset, message: what))
            }
            if let lastKey, compareBytes(lastKey, key) >= 0 { wrong("keys are out of order") }
            if compareBytes(key, separator) > 0 { wrong("a key is above the block's key in the index") }
            if let filter,
                !key.withUnsafeBytes({
                    filter.mayContain(
                        BloomFilter.hash(UnsafeRawBufferPointer(rebasing: $0[..<KeyView.partitionCount(of: $0)])))
                })
            {
                wrong("a partition is not in the filter")
            }
            do throws(ByteError) {
                try MutationOperation.row(key: cursor.key, row: cursor.value).validate(
                    endingAt: cursor.key.count + cursor.value.count)
            } catch { wrong("a row does not parse: \(error)") }
            lastKey = key
            report.rows += 1
            more = cursor.advance()
        }
    }

    private func checkTombstones(
        _ file: any File, _ root: Block, _ size: Int, _ filter: BloomFilter?, _ report: inout Report
    ) {
        var end: [UInt8] = []
        visit(root, "tombstone root", &report) { indexHandle, indexFirst, report in
            guard let index = checkBlock(file, indexHandle, size, "tombstone index block", &report) else { return }
            if !starts(index, with: indexFirst) {
                report.problems.append(
                    SSTableProblem(
                        place: "tombstone index block", offset: indexHandle.offset,
                        message: "its first key differs from the root's entry"))
            }
            visit(index, "tombstone index block", &report) { handle, first, report in
                guard let block = checkBlock(file, handle, size, "tombstone block", &report) else { return }
                func wrong(_ what: String) {
                    report.problems.append(
                        SSTableProblem(place: "tombstone block", offset: handle.offset, message: what))
                }
                if !starts(block, with: first) { wrong("its first key differs from the index entry") }
                let cursor = BlockCursor()
                cursor.open(block)
                var more = cursor.seekToFirst()
                while more {
                    report.rangeTombstones += 1
                    let start = [UInt8](cursor.key)
                    if compareBytes(start, end) < 0 { wrong("range tombstones are out of order or overlap") }
                    let hash = start.withUnsafeBytes {
                        BloomFilter.hash(UnsafeRawBufferPointer(rebasing: $0[..<KeyView.partitionCount(of: $0)]))
                    }
                    if let filter, !filter.mayContain(hash) {
                        wrong("a range tombstone's partition is not in the filter")
                    }
                    if let parts = RangeTombstone.decode(cursor.value) {
                        end = [UInt8](parts.end)
                        do throws(ByteError) {
                            try MutationOperation.deleteRange(
                                start: cursor.key, end: parts.end, deletion: parts.deletion
                            ).validate(endingAt: cursor.key.count + cursor.value.count)
                        } catch { wrong("a range tombstone is not one: \(error)") }
                    } else {
                        wrong("a range tombstone does not parse")
                    }
                    more = cursor.advance()
                }
            }
        }
    }

    private func starts(_ block: Block, with key: [UInt8]) -> Bool {
        let cursor = BlockCursor()
        cursor.open(block)
        return cursor.seekToFirst() && key.withUnsafeBytes { compareBytes(cursor.key, $0) == 0 }
    }

    /// Visits the handles in a root or an index block, with their keys.
    private func visit(
        _ block: Block, _ place: String, _ report: inout Report, _ body: (BlockHandle, [UInt8], inout Report) -> Void
    ) {
        let cursor = BlockCursor()
        cursor.open(block)
        var more = cursor.seekToFirst()
        while more {
            if let handle = handle(cursor.value, place, &report) { body(handle, [UInt8](cursor.key), &report) }
            more = cursor.advance()
        }
    }

    private func checkDigest(_ file: any File, _ footer: SSTableFooter, _ size: Int, _ report: inout Report)
        throws(StorageError)
    {
        var digest: UInt64 = 0
        var offset = 0
        let end = size - SSTableFormat.footerBytes
        while offset < end {
            let count = min(SSTableFormat.digestPieceBytes, end - offset)
            let piece = try SSTable.readRaw(file, offset: offset, count: count)
            digest = piece.withUnsafeBytes { Checksum.xxh3($0, seed: digest) }
            offset += count
        }
        if digest != footer.digest && report.isGood {
            report.problems.append(
                SSTableProblem(
                    place: "file", offset: 0,
                    message: "the digest over the whole file is wrong, but every block is valid"))
        }
    }
}
