import CQL
import Coordinator
import DataModel
import Messages
import Primitives

/// The live cells of a row's lists, for operations by index or by value.
struct ListContents {
    struct Cell {
        /// The encoded path, as stored.
        var path: [UInt8]
        var value: [UInt8]
    }

    private var byColumn: [Int: [Cell]] = [:]

    func cells(of column: Int) -> [Cell] { byColumn[column] ?? [] }

    /// Reads the lists that the operations need.
    static func read(
        _ operations: [ColumnOperation], table: TableMetadata, key: borrowing ByteWriter, port: any ReplicaPort,
        now: UInt32
    ) throws(ServerError) -> ListContents {
        var contents = ListContents()
        let wanted = Set(operations.filter(\.requiresRead).map(\.column.id))
        do throws(ReplicaError) {
            try port.get(table: table.id, key: key) { row in
                var cells = row.cells
                while cells.advance() {
                    guard wanted.contains(cells.column), cells.isLive(now: now) else { continue }
                    contents.byColumn[cells.column, default: []].append(
                        Cell(path: [UInt8](cells.path), value: [UInt8](cells.value)))
                }
            }
        } catch { throw ServerError(error) }
        return contents
    }
}

/// Creates paths for elements prepended to a list.
enum ListPaths {
    /// 2010-01-01 in 100 ns ticks since 1582. Times are mirrored at this point, so that later elements sort first.
    private static let mirrorTicks = UUID.unixEpochTicks + 1_262_304_000 * 10_000_000

    /// Returns ascending time-based identifiers, all smaller than those of earlier calls.
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
