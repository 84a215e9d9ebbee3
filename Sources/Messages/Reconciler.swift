import DataModel
import Primitives

/// Merges the answers of several replicas into one and determines what each of them lacks.
///
/// 1. Only keys that every answer covers are merged: beyond them a replica may hold more than it could send.
/// 2. The range tombstones of all answers are united; for each key the latest one counts.
/// 3. The versions of a row are merged under that deletion. A replica whose version differs lacks the merged row; a
///    replica that misses part of a range tombstone lacks that part. Applying either is idempotent, and both carry
///    their original timestamps.
public struct Reconciler {
    /// One replica's parsed answer.
    private struct Source {
        var rows: [(key: Range<Int>, row: Range<Int>)] = []
        var deletions = RangeDeletions()
        var next = 0
    }

    /// The merged answer and, for each source, the operations it lacks (empty when none).
    public struct Outcome: Sendable {
        public var answer: ReadAnswer
        public var lacking: [[UInt8]]
    }

    private let merger = RowMerger()

    public init() {}

    /// - Throws: `ByteError` when an answer does not parse. Answers of other nodes were validated when they arrived.
    public func reconcile(_ answers: [ReadAnswer], of command: ReadCommand) throws(ByteError) -> Outcome {
        let coveredTo = Reconciler.commonCover(answers, reversed: command.reversed)
        let covered = ReadAnswer(coveredTo: coveredTo, operations: [], rowCount: 0).covered(of: command)
        var sources: [Source] = []
        var united = RangeDeletions()
        for answer in answers {
            let source = try Reconciler.parse(answer, covered: covered)
            for span in source.deletions.spans { united.add(span) }
            sources.append(source)
        }
        var out = MutationWriter(capacity: answers.reduce(256) { max($0, $1.operations.count) })
        var lacks: [MutationWriterReference] = answers.map { _ in MutationWriterReference() }
        var rowCount = 0
        try Reconciler.withBytes(answers[...], []) { (bytes) throws(ByteError) in
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
        return Outcome(
            answer: ReadAnswer(coveredTo: coveredTo, operations: out.out.toArray(), rowCount: rowCount),
            lacking: lacks.map { $0.writer.out.toArray() })
    }

    /// Returns the end of the range that all answers cover; nil when all cover the whole range.
    static func commonCover(_ answers: [ReadAnswer], reversed: Bool) -> [UInt8]? {
        var common: [UInt8]?
        for case let to? in answers.map(\.coveredTo) {
            guard let so = common else {
                common = to
                continue
            }
            if reversed ? compareBytes(to, so) > 0 : compareBytes(to, so) < 0 { common = to }
        }
        return common
    }

    private static func parse(_ answer: ReadAnswer, covered: KeyRange) throws(ByteError) -> Source {
        var source = Source()
        try answer.operations.withUnsafeBytesTyped { (bytes) throws(ByteError) in
            var reader = ByteReader(bytes)
            let base = bytes.baseAddress
            while let operation = try MutationReader.operation(from: &reader) {
                switch operation {
                case .row(let key, let row):
                    guard covered.contains(key), let base, let keyStart = key.baseAddress,
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
        source.deletions = source.deletions.clipped(to: covered)
        return source
    }

    /// Calls `body` with the operations of all answers borrowed at once.
    private static func withBytes(
        _ answers: ArraySlice<ReadAnswer>, _ collected: [UnsafeRawBufferPointer],
        _ body: ([UnsafeRawBufferPointer]) throws(ByteError) -> Void
    ) throws(ByteError) {
        guard let first = answers.first else { return try body(collected) }
        try first.operations.withUnsafeBytesTyped { (bytes) throws(ByteError) in
            try withBytes(answers.dropFirst(), collected + [bytes], body)
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
