import CQL
import DataModel
import Messages
import Primitives

/// The live cells of a row's lists, for operations that go by index or by value.
struct ListContents {
    struct Cell {
        /// The encoded path, as it is stored.
        var path: [UInt8]
        var value: [UInt8]
    }

    private var byColumn: [Int: [Cell]] = [:]

    func cells(of column: Int) -> [Cell] { byColumn[column] ?? [] }

    /// Reads the lists that the operations touch.
    static func read(
        _ operations: [ColumnOperation], table: TableMetadata, key: borrowing ByteWriter, port: any ReplicaPort, now: UInt32
    ) throws(ServerError) -> ListContents {
        var contents = ListContents()
        let wanted = Set(operations.filter(\.requiresRead).map(\.column.id))
        do throws(ReplicaError) {
            try port.get(table: table.id, key: key) { row in
                var cells = row.cells
                while cells.advance() {
                    guard wanted.contains(cells.column), cells.isLive(now: now) else { continue }
                    contents.byColumn[cells.column, default: []].append(Cell(path: [UInt8](cells.path), value: [UInt8](cells.value)))
                }
            }
        } catch { throw ServerError(error) }
        return contents
    }
}

/// Paths for elements put before all others of a list.
enum ListPaths {
    /// 2010-01-01 in 100 ns ticks since 1582: times are mirrored at it, so that later elements come earlier.
    private static let mirrorTicks = UUID.unixEpochTicks + 1_262_304_000 * 10_000_000

    /// Time-based identifiers in ascending order, all before those of earlier calls.
    static func before(_ count: Int, _ context: inout EvaluationContext) -> [UUID] {
        var paths: [UUID] = []
        for _ in 0..<count {
            let id = context.nextTimeUUID()
            let after = id.ticks > mirrorTicks ? id.ticks - mirrorTicks : 0
            paths.append(UUID.timeBased(ticks: mirrorTicks - min(after, mirrorTicks), clockSequenceAndNode: id.low))
        }
        return paths.reversed()
    }
}
