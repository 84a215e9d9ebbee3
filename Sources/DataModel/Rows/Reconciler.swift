import Primitives

/// Merges what several replicas hold in one range of keys and determines what each of them lacks.
///
/// 1. The range tombstones of all are united; for each key the latest one counts.
/// 2. The versions of a row are merged under that deletion. A replica whose version differs lacks the merged row; a
///    replica that misses part of a range tombstone lacks that part. Applying either is idempotent, and both carry
///    their original timestamps.
public struct Reconciler {
    /// What one replica holds.
    private struct Source {
        var rows: [(key: Range<Int>, row: Range<Int>)] = []
        var deletions = RangeDeletions()
        var next = 0
    }

    private let merger = RowMerger()

    public init() {}

    /// - Parameters:
    ///   - versions: the operations of each replica, as in a mutation; rows in key order.
    ///   - range: operations outside of it are ignored.
    /// - Returns: the merged operations, how many rows they are, and what each replica lacks (empty when nothing).
    /// - Throws: `ByteError` when operations do not parse.
    public func merge(_ versions: [[UInt8]], in range: KeyRange) throws(ByteError)
        -> (operations: [UInt8], rowCount: Int, lacking: [[UInt8]])
    {
        var sources: [Source] = []
        var united = RangeDeletions()
        for version in versions {
            let source = try Reconciler.parse(version, range)
            for span in source.deletions.spans { united.add(span) }
            sources.append(source)
        }
        var out = MutationWriter(capacity: versions.reduce(256) { max($0, $1.count) })
        var lacks: [MutationWriterReference] = versions.map { _ in MutationWriterReference() }
        var rowCount = 0
        try Reconciler.withBytes(versions[...], []) { (bytes) throws(ByteError) in
            rowCount = merge(bytes, &sources, united, into: &out, lacks: &lacks)
        }
        for span in united.spans {
            out.deleteRange(KeyRange(start: span.start, end: span.end), deletion: span.deletion)
        }
        for index in sources.indices {
            for span in united.lacking(in: sources[index].deletions) {
                lacks[index].writer.deleteRange(KeyRange(start: span.start, end: span.end), deletion: span.deletion)
            }
        }
        return (out.out.toArray(), rowCount, lacks.map { $0.writer.out.toArray() })
    }

    private static func parse(_ version: [UInt8], _ range: KeyRange) throws(ByteError) -> Source {
        var source = Source()
        try version.withUnsafeBytesTyped { (bytes) throws(ByteError) in
            var reader = ByteReader(bytes)
            let base = bytes.baseAddress
            while let operation = try MutationReader.operation(from: &reader) {
                switch operation {
                case .row(let key, let row):
                    guard range.contains(key), let base, let keyStart = key.baseAddress,
                        let rowStart = row.baseAddress
                    else { continue }
                    let keyOffset = keyStart - base
                    let rowOffset = rowStart - base
                    source.rows.append((keyOffset..<keyOffset + key.count, rowOffset..<rowOffset + row.count))
                case .deleteRange(let start, let end, let deletion):
                    source.deletions.add(RangeTombstone(start: [UInt8](start), end: [UInt8](end), deletion: deletion))
                }
            }
        }
        source.deletions = source.deletions.clipped(to: range)
        return source
    }

    /// Calls `body` with the bytes of all versions borrowed at once.
    private static func withBytes(
        _ versions: ArraySlice<[UInt8]>, _ collected: [UnsafeRawBufferPointer],
        _ body: ([UnsafeRawBufferPointer]) throws(ByteError) -> Void
    ) throws(ByteError) {
        guard let first = versions.first else { return try body(collected) }
        try first.withUnsafeBytesTyped { (bytes) throws(ByteError) in
            try withBytes(versions.dropFirst(), collected + [bytes], body)
        }
    }

    private func merge(
        _ bytes: [UnsafeRawBufferPointer], _ sources: inout [Source], _ united: RangeDeletions,
        into out: inout MutationWriter,
        lacks: inout [MutationWriterReference]
    ) -> Int {
        var rowCount = 0
        var merged = ByteWriter(capacity: 512)
        func key(_ index: Int) -> UnsafeRawBufferPointer? {
            let source = sources[index]
            guard source.next < source.rows.count else { return nil }
            return UnsafeRawBufferPointer(rebasing: bytes[index][source.rows[source.next].key])
        }
        func row(_ index: Int) -> UnsafeRawBufferPointer {
            UnsafeRawBufferPointer(rebasing: bytes[index][sources[index].rows[sources[index].next].row])
        }
        while true {
            var least: UnsafeRawBufferPointer?
            for index in sources.indices {
                guard let candidate = key(index) else { continue }
                if least.map({ compareBytes(candidate, $0) < 0 }) ?? true { least = candidate }
            }
            guard let least else { return rowCount }
            let holders = sources.indices.filter { key($0).map { compareBytes($0, least) == 0 } ?? false }
            let shadow = united.deletion(at: least)
            merged.removeAll()
            merger.begin()
            for holder in holders { merger.add(RowView(row(holder))) }
            if merger.merge(shadow: shadow, purge: nil, into: &merged) {
                rowCount += 1
                out.row(key: least, encoded: merged.bytes)
                for index in sources.indices {
                    if holders.contains(index), isSame(row(index), merged.bytes, under: shadow) { continue }
                    lacks[index].writer.row(key: least, encoded: merged.bytes)
                }
            }
            for holder in holders { sources[holder].next += 1 }
        }
    }

    /// Returns whether a row under `shadow` equals the merged row. Encodings of equal rows may differ, for example in
    /// the timestamp that a row stores once for several cells.
    private func isSame(_ row: UnsafeRawBufferPointer, _ merged: UnsafeRawBufferPointer, under shadow: DeletionTime)
        -> Bool
    {
        if compareBytes(row, merged) == 0 { return true }
        var shadowed = ByteWriter(capacity: row.count)
        merger.begin()
        merger.add(RowView(row))
        guard merger.merge(shadow: shadow, purge: nil, into: &shadowed) else { return false }
        let one = RowView(shadowed.bytes)
        let other = RowView(merged)
        guard one.hasLiveness == other.hasLiveness, one.livenessTimestamp == other.livenessTimestamp,
            one.deletion == other.deletion,
            one.livenessTTL == other.livenessTTL, one.livenessExpires == other.livenessExpires
        else { return false }
        var cells = one.cells
        var others = other.cells
        while cells.advance() {
            guard others.advance(), cells.column == others.column, cells.timestamp == others.timestamp,
                cells.ttl == others.ttl,
                cells.localDeletion == others.localDeletion,
                cells.flags.subtracting(.sameTimestamp) == others.flags.subtracting(.sameTimestamp),
                compareBytes(cells.path, others.path) == 0, compareBytes(cells.value, others.value) == 0
            else { return false }
        }
        return !others.advance()
    }
}
