import DataModel
import Primitives
import Synchronization

/// The rows that memtables have but the commit log could not write, so that no read returns what a restart would lose.
///
/// Mutations reach the memtables before the log writes them. When the write fails, the log notes their rows here and
/// keeps their bytes; reads that include one of them are refused until the log has written the bytes. All other reads
/// go on.
///
/// **Thread safety**: all methods, from any thread.
final class UnloggedRows: Sendable {
    private struct Ranges {
        /// Keys of rows.
        var rows: Set<[UInt8]> = []
        /// Deleted ranges.
        var deleted: [(start: [UInt8], end: [UInt8])] = []
    }

    private let tables = Mutex<[UUID: Ranges]>([:])
    private let areThere = Atomic<Bool>(false)
    private let started = Atomic<UInt64>(0)

    /// How often the log has begun to refuse writes. A request that sees another value at its end than at its start may
    /// have read rows before they were noted.
    var failures: UInt64 { started.load(ordering: .acquiring) }

    @inline(__always) var isEmpty: Bool { !areThere.load(ordering: .acquiring) }

    /// Notes that the log begins to refuse writes.
    func begin() { started.add(1, ordering: .acquiringAndReleasing) }

    /// Notes the rows of encoded mutations.
    func add(_ mutations: UnsafeRawBufferPointer) {
        tables.withLock { tables in
            var reader = MutationReader(mutations)
            do throws(ByteError) {
                while try reader.nextTable() {
                    while let operation = try reader.nextOperation() {
                        switch operation {
                        case .row(let key, _): tables[reader.table, default: Ranges()].rows.insert([UInt8](key))
                        case .deleteRange(let start, let end, _):
                            tables[reader.table, default: Ranges()].deleted.append(([UInt8](start), [UInt8](end)))
                        }
                    }
                }
            } catch {}  // the rest did not reach a memtable either
        }
        areThere.store(true, ordering: .releasing)
    }

    /// Forgets all rows: the log has written them.
    func removeAll() {
        if isEmpty { return }
        tables.withLock { $0 = [:] }
        areThere.store(false, ordering: .releasing)
    }

    /// Whether a row or a deletion in a range of keys is noted.
    func touches(_ table: UUID, _ start: UnsafeRawBufferPointer, _ end: UnsafeRawBufferPointer) -> Bool {
        tables.withLock { tables in
            guard let ranges = tables[table] else { return false }
            let hasRow = ranges.rows.contains { key in
                key.withUnsafeBytes { compareBytes(start, $0) <= 0 && compareBytes($0, end) < 0 }
            }
            return hasRow
                || ranges.deleted.contains { range in
                    range.start.withUnsafeBytes { compareBytes($0, end) < 0 }
                        && range.end.withUnsafeBytes { compareBytes(start, $0) < 0 }
                }
        }
    }

    /// Whether the row with that key, or a deletion over it, is noted.
    func touches(_ table: UUID, key: UnsafeRawBufferPointer) -> Bool {
        tables.withLock { tables in
            guard let ranges = tables[table] else { return false }
            return ranges.rows.contains([UInt8](key))
                || ranges.deleted.contains { range in
                    range.start.withUnsafeBytes { compareBytes($0, key) <= 0 }
                        && range.end.withUnsafeBytes { compareBytes(key, $0) < 0 }
                }
        }
    }
}

extension StorageEngine {
    /// How often the commit log has begun to refuse writes.
    public var logFailures: UInt64 { core.unlogged.failures }

    /// Throws when the row with that key was written but the commit log has refused the write.
    @inline(__always) public func checkLogged(_ table: UUID, key: UnsafeRawBufferPointer) throws(StorageError) {
        if core.unlogged.isEmpty { return }
        if core.unlogged.touches(table, key: key) { throw StorageEngine.unlogged }
    }

    /// Throws when the range has rows or deletions that were written but that the commit log has refused.
    @inline(__always) public func checkLogged(_ table: UUID, _ range: KeyRange) throws(StorageError) {
        if core.unlogged.isEmpty { return }
        let touches = range.start.withUnsafeBytes { start in
            range.end.withUnsafeBytes { core.unlogged.touches(table, start, $0) }
        }
        if touches { throw StorageEngine.unlogged }
    }

    private static let unlogged = StorageError.stopped(
        "the commit log could not write the last change of a row that is read, and a restart would lose it. Reads of such rows "
            + "are refused until the log can be written: make room on its disk")
}
