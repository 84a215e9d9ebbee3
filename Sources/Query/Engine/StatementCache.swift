import Synchronization

/// The cache of prepared statements, by id, with a budget in bytes. It evicts the least recently used; clients then
/// prepare them again.
///
/// **Thread safety**: any thread; each call holds a lock briefly.
final class StatementCache: Sendable {
    private struct Entry {
        var statement: PreparedStatement
        var weight: Int
        /// The neighbors in order of use; -1 at the ends.
        var older: Int
        var newer: Int
    }

    private struct State {
        var places: [StatementID: Int] = [:]
        var entries: [Entry?] = []
        var free: [Int] = []
        var oldest = -1
        var newest = -1
        var weight = 0
    }

    private let state = Mutex(State())
    /// How often statements were evicted since the start.
    private let evicted = Atomic<Int>(0)
    let budget: Int
    /// The approximate weight of a statement besides its text: plan, metadata, tables.
    private static let overhead = 1024

    init(budget: Int) { self.budget = budget }

    func find(_ id: StatementID) -> PreparedStatement? {
        state.withLock { state in
            guard let place = state.places[id], let entry = state.entries[place] else { return nil }
            Self.unlink(place, &state)
            Self.linkAsNewest(place, &state)
            return entry.statement
        }
    }

    /// Inserts a statement. If its id is cached already, returns the cached statement instead.
    func insert(_ statement: PreparedStatement) -> PreparedStatement {
        state.withLock { state in
            if let place = state.places[statement.id], let entry = state.entries[place] { return entry.statement }
            let weight = statement.text.utf8.count * 4 + Self.overhead
            let entry = Entry(statement: statement, weight: weight, older: -1, newer: -1)
            let place: Int
            if let reused = state.free.popLast() {
                place = reused
                state.entries[place] = entry
            } else {
                place = state.entries.count
                state.entries.append(entry)
            }
            state.places[statement.id] = place
            state.weight += weight
            Self.linkAsNewest(place, &state)
            while state.weight > budget, state.oldest != place { forgetOldest(&state) }
            return statement
        }
    }

    /// The number of statements cached, and of those evicted since the start.
    var counts: (kept: Int, forgotten: Int) { (state.withLock { $0.places.count }, evictions) }

    /// The number of statements evicted since the start. Copies of statements are valid while it stays the same.
    @inline(__always) var evictions: Int { evicted.load(ordering: .acquiring) }

    /// Evicts the statements that match the predicate.
    func remove(where predicate: (PreparedStatement) -> Bool) {
        state.withLock { state in
            for place in state.entries.indices {
                if let entry = state.entries[place], predicate(entry.statement) { forget(place, &state) }
            }
        }
    }

    private func forgetOldest(_ state: inout State) { forget(state.oldest, &state) }

    private func forget(_ place: Int, _ state: inout State) {
        guard place >= 0, let entry = state.entries[place] else { return }
        Self.unlink(place, &state)
        state.places[entry.statement.id] = nil
        state.entries[place] = nil
        state.free.append(place)
        state.weight -= entry.weight
        evicted.add(1, ordering: .releasing)
    }

    private static func unlink(_ place: Int, _ state: inout State) {
        guard let entry = state.entries[place] else { return }
        if entry.older >= 0 { state.entries[entry.older]?.newer = entry.newer } else { state.oldest = entry.newer }
        if entry.newer >= 0 { state.entries[entry.newer]?.older = entry.older } else { state.newest = entry.older }
    }

    private static func linkAsNewest(_ place: Int, _ state: inout State) {
        state.entries[place]?.older = state.newest
        state.entries[place]?.newer = -1
        if state.newest >= 0 { state.entries[state.newest]?.newer = place } else { state.oldest = place }
        state.newest = place
    }
}
