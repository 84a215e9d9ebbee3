import Primitives

/// The one check of mutations that come from outside: from another node, a hint, the batchlog, the commit log or a
/// replica's answer. What passes it reaches no trap when it is applied, flushed, compacted or read.
///
/// 1. Mutations and operations parse, and each operation ends within its mutation.
/// 2. A row's key has a whole partition part and a kind; the row is valid (`RowView.validate`).
/// 3. A range tombstone lies within one partition and is not empty: memtables and sstables are cut between partitions.
///
/// Tokens are not recomputed, and neither clustering components nor values are checked: nothing below the query layer
/// reads them.
extension MutationReader {
    /// Validates whole encoded mutations. One pass, without allocation.
    /// - Parameter counters: the form of counter cells in the rows.
    /// - Throws: `ByteError` with the offset in `bytes` and what was expected there.
    public static func validate(_ bytes: UnsafeRawBufferPointer, counters: CounterForm = .shards) throws(ByteError) {
        var mutations = MutationReader(bytes)
        while try mutations.nextTable() {
            while let operation = try mutations.nextOperation() {
                let offset = mutations.reader.offset
                guard offset <= mutations.end else {
                    throw .unexpected(offset: mutations.end, expected: "the end of a mutation")
                }
                try operation.validate(endingAt: offset, counters: counters)
            }
        }
    }
}

extension MutationOperation {
    /// Validates one operation.
    /// - Parameter end: the offset of its end, for errors.
    @inline(__always) public func validate(endingAt end: Int, counters: CounterForm = .shards) throws(ByteError) {
        switch self {
        case .row(let key, let row):
            let start = end - row.count
            guard KeyView.isRowKey(key) else {
                throw .unexpected(offset: start - key.count, expected: "the key of a row")
            }
            do throws(ByteError) { try RowView.validate(row, counters: counters) } catch {
                throw error.moved(by: start)
            }
        case .deleteRange(let first, let last, _):
            guard KeyView.isRangeOfOnePartition(first, last) else {
                throw .unexpected(
                    offset: end - 12 - first.count - last.count, expected: "a range of keys of one partition")
            }
        }
    }
}
