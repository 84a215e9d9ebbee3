import Synchronization

/// A count of events with one cell for each event loop, so that loops do not write to the same cache line.
///
/// A loop keeps its cell: the reference count of the counter would be such a line too.
///
/// **Thread safety**: all methods, from any thread.
final class LoopCounter: Sendable {
    /// The events of one loop. Larger than two cache lines, which processors fetch in pairs.
    final class Cell: Sendable {
        fileprivate let count = Atomic<Int>(0)
        private let padding: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0, 0)
        private let more: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0, 0)

        @inline(__always) func add(_ events: Int) { count.add(events, ordering: .relaxed) }
    }

    private let cells: [Cell]

    init(loops: Int) { cells = (0..<loops).map { _ in Cell() } }

    func cell(loop: Int) -> Cell { cells[loop] }

    /// The sum over all loops.
    var sum: Int { cells.reduce(0) { $0 + $1.count.load(ordering: .relaxed) } }
}
