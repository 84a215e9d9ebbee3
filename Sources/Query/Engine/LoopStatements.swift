import Primitives

/// The prepared statements that one event loop executes, each compiled for this loop alone.
///
/// Executing such a statement takes no lock and changes no reference count that loops share. Which statements exist is
/// decided by the engine's cache: when it evicts one, the loops forget their copies.
///
/// **Thread safety**: its loop only.
/// SAFETY: `@unchecked Sendable` for that reason.
public final class LoopStatements: @unchecked Sendable {
    private struct Entry {
        let statement: PreparedStatement
        /// Wall clock microseconds at which the engine's cache last heard of a use.
        var reportedAt: Int64
    }

    private var entries: [StatementID: Entry] = [:]
    /// The evictions of the engine's cache that the entries reflect.
    private var evictions = 0
    private var emptiedAt: Int64 = 0

    /// The number of copies on one loop; beyond it all are dropped, at most once in `interval`.
    static let limit = 1024
    /// Microseconds between two reports of a use to the engine's cache, which evicts the least recently used.
    private static let interval: Int64 = 1_000_000

    public init() {}

    /// The number of copies.
    var count: Int { entries.count }

    /// Returns the loop's copy of the statement, or the engine's own if there is no room for a copy; nil when the
    /// engine does not have the statement.
    @inline(__always) func find(_ id: StatementID, in engine: QueryEngine, now: Int64) -> PreparedStatement? {
        if engine.cache.evictions == evictions, let index = entries.index(forKey: id),
            now &- entries.values[index].reportedAt < LoopStatements.interval
        {
            return entries.values[index].statement
        }
        return findShared(id, engine, now)
    }

    @inline(never) private func findShared(
        _ id: StatementID, _ engine: QueryEngine, _ now: Int64
    ) -> PreparedStatement? {
        // Read before the cache is asked: an eviction in between empties the copies at the next call.
        let present = engine.cache.evictions
        if present != evictions {
            evictions = present
            entries.removeAll(keepingCapacity: true)
        }
        guard let shared = engine.cache.find(id) else { return nil }
        if let index = entries.index(forKey: id) {
            entries.values[index].reportedAt = now
            return entries.values[index].statement
        }
        if entries.count >= LoopStatements.limit {
            guard now &- emptiedAt >= LoopStatements.interval else { return shared }
            entries.removeAll(keepingCapacity: true)
            emptiedAt = now
        }
        guard let copy = engine.copy(of: shared) else { return shared }
        entries[id] = Entry(statement: copy, reportedAt: now)
        return copy
    }
}
