/// Rows that are written and deleted: deleted rows do not come back.
///
/// Each row has a single writer. Deletions cover a row, a slice of the partition, or the whole partition; all rows of a
/// partition belong to one writer. Partitions are read whole or in small pages, whose boundaries may fall among deleted
/// rows. Compaction merges two sstables of similar size at a time, so that deletions meet the data they hide late.
///
/// SAFETY: `@unchecked Sendable`, see `Workload`.
public final class DeletionWorkload: Workload, @unchecked Sendable {
    public let name = "deletions"
    private let clients: Int
    private let forgetsAtOnce: Bool
    /// Histories by partition, one per client, and row.
    private var rows: [[VersionedHistory]]
    /// The timestamp counter of each partition. Shared by its rows, because one deletion may cover several rows.
    private var stamps: [Int]
    public private(set) var violations: [Violation] = []

    static let rowsPerPartition = 8

    /// - Parameter forgetsAtOnce: whether `gc_grace_seconds` is 0.
    public init(clients: Int, forgetsAtOnce: Bool) {
        self.clients = clients
        self.forgetsAtOnce = forgetsAtOnce
        rows = (0..<clients).map { partition in
            (0..<DeletionWorkload.rowsPerPartition).map { VersionedHistory(name: "row \(partition).\($0)") }
        }
        stamps = [Int](repeating: 0, count: clients)
    }

    public var tables: [String] {
        let compaction = "{'class': 'SizeTieredCompactionStrategy', 'min_threshold': 2, 'min_sstable_size': 1}"
        return [
            "CREATE TABLE IF NOT EXISTS sim.deletions (k int, c int, v int, pad text, PRIMARY KEY (k, c)) "
                + "WITH gc_grace_seconds = \(forgetsAtOnce ? 0 : 864_000) AND compaction = \(compaction)"
        ]
    }

    public func step(_ session: ClientSession) {
        let world = session.world
        if world.random.happens(0.4) { return read(session) }
        let partition = session.number
        stamps[partition] += 1
        let stamp = stamps[partition]
        let row = world.random.int(0...DeletionWorkload.rowsPerPartition - 1)
        let last = DeletionWorkload.rowsPerPartition - 1
        switch world.random.int(0...9) {
        case 0...4:
            // The row's next version, so that values are unique.
            let value = rows[partition][row].nextValue
            let pad = String(repeating: "x", count: world.random.happens(0.2) ? world.random.int(0...4000) : 8)
            write(
                session,
                "INSERT INTO sim.deletions (k, c, v, pad) VALUES (\(partition), \(row), \(value), '\(pad)') USING TIMESTAMP \(stamp)",
                [row],
                value)
        case 5...6:
            write(
                session, "DELETE FROM sim.deletions USING TIMESTAMP \(stamp) WHERE k = \(partition) AND c = \(row)",
                [row], nil)
        case 7:
            write(
                session, "DELETE FROM sim.deletions USING TIMESTAMP \(stamp) WHERE k = \(partition) AND c >= \(row)",
                Array(row...last), nil
            )
        case 8:
            write(
                session, "DELETE FROM sim.deletions USING TIMESTAMP \(stamp) WHERE k = \(partition) AND c < \(row)",
                Array(0..<row), nil)
        default:
            write(
                session, "DELETE FROM sim.deletions USING TIMESTAMP \(stamp) WHERE k = \(partition)", Array(0...last),
                nil)
        }
    }

    private func write(_ session: ClientSession, _ statement: String, _ affected: [Int], _ state: Int?) {
        let partition = session.number
        let versions = affected.map { rows[partition][$0].begin(state) }
        let called = session.now
        let reply = session.run(statement)
        for (row, version) in zip(affected, versions) {
            rows[partition][row].ended(version, isAcknowledged: reply.isDone, called: called, now: session.now)
        }
        violations += reply.complaints(of: self)
    }

    private func read(_ session: ClientSession) {
        let partition = session.world.random.int(0...clients - 1)
        let page = session.world.random.pick([0, 1, 2, 3])
        let floors = rows[partition].map(\.floor)
        let called = session.now
        let reply = session.run("SELECT c, v FROM sim.deletions WHERE k = \(partition)", page: page)
        if let found = reply.rows { saw(partition, found, floors, called, session.now) }
        violations += reply.complaints(of: self)
    }

    private func saw(_ partition: Int, _ found: [[String]], _ floors: [Int], _ called: UInt64, _ now: UInt64) {
        for row in rows[partition].indices {
            let value = found.value(of: row)
            if let violation = rows[partition][row].saw(value, floor: floors[row], called: called, now: now) {
                violations.append(violation)
            }
        }
    }

    public func finish(_ session: ClientSession, _ readers: FinalReaders) {
        for partition in 0..<clients {
            let floors = rows[partition].map(\.floor)
            let called = session.now
            guard let found = readers.agreed("SELECT c, v FROM sim.deletions WHERE k = \(partition)") else { continue }
            saw(partition, found, floors, called, session.now)
        }
    }
}
