import DataModel
import Fixtures
import Glibc
import NativeProtocol
import Primitives
import ScriptedServer
import Synchronization
import Testing

@testable import BulkLoader

/// A counter table in memory behind the native protocol; it records how often each key was incremented.
final class CounterServer: Sendable {
    struct State {
        var counts: [Int32: Int64] = [:]
        var requests = 0
    }

    let state = Mutex(State())
    /// Returns the error for a request by its number; nil: none.
    let mishap: @Sendable (Int) -> ScriptedAnswer?
    let countsFirst: Bool
    nonisolated(unsafe) var server: ScriptedServer?

    init(countsFirst: Bool = false, mishap: @escaping @Sendable (Int) -> ScriptedAnswer? = { _ in nil }) {
        self.mishap = mishap
        self.countsFirst = countsFirst
        server = ScriptedServer { [unowned self] text, values, isPrepare in answer(text, values, isPrepare) }
    }

    func answer(_ text: String, _ values: ValueList, _ isPrepare: Bool) -> ScriptedAnswer {
        if text.contains("system_schema.columns") {
            func row(_ name: String, _ type: String, _ kind: String, _ position: Int32) -> [[UInt8]?] {
                [Array(name.utf8), Array(type.utf8), Array(kind.utf8), CQLType.bigEndian(position)]
            }
            return .result(
                TableServer.rows(
                    [("column_name", .text), ("type", .text), ("kind", .text), ("position", .int)],
                    [
                        row("id", "int", "partition_key", 0), row("n", "counter", "regular", -1),
                        row("m", "counter", "regular", -1),
                    ]))
        }
        if isPrepare {
            guard text == "UPDATE k.t SET n = n + ?, m = m + ? WHERE id = ?" else { return .error(.invalid(text)) }
            let markers = [("n", CQLType.counter), ("m", .counter), ("id", .int)].map {
                ColumnSpec(keyspace: "k", table: "t", name: $0.0, type: $0.1)
            }
            return .prepared(
                PreparedDescription(
                    id: [1], resultMetadataID: [2], markers: markers, partitionKeyMarkers: [2], result: nil))
        }
        return state.withLock { state in
            state.requests += 1
            let mishap = mishap(state.requests)
            if let mishap, !countsFirst { return mishap }
            guard let key = values.array(2), key.count == 4 else { return .error(.invalid("no key")) }
            let id = Int32(bitPattern: key.reduce(UInt32(0)) { $0 << 8 | UInt32($1) })
            for index in 0..<2 {
                guard let delta = values.array(index) else { continue }
                state.counts[id, default: 0] += Int64(bitPattern: delta.reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
            }
            return mishap ?? .result(.void)
        }
    }
}

@Suite("Loading counters", .serialized) struct CounterTests {
    let tests = LoadTests()

    func options(_ table: CounterServer, _ file: String) -> LoadOptions {
        var options = LoadOptions(files: [file], keyspace: "k", table: "t")
        options.connection.port = table.server?.port ?? 0
        options.connections = 2
        options.inFlight = 20
        return options
    }

    func csv(_ rows: Range<Int>) -> String { rows.reduce(into: "id,n,m\n") { $0 += "\($1),1,\n" } }

    /// Returns the lines of a reject file: key and reason.
    func rejects(_ path: String) -> [Int32: String] {
        var found: [Int32: String] = [:]
        for line in (tests.read(path) ?? "").split(separator: "\n") {
            let parts = line.split(separator: "\t", omittingEmptySubsequences: false)
            guard parts.count == 3, let id = Int32(parts[2].split(separator: ",").first ?? "") else { continue }
            found[id] = String(parts[1])
        }
        return found
    }

    static let mishaps: [(String, Int, ScriptedAnswer)] = [
        ("hangs up", 701, .hangUp), ("times out", 97, .error(ServerError(.writeTimeout, "late"))),
        ("fails", 97, .error(ServerError(.serverError, "disk"))),
    ]

    @Test("a count is added exactly once, or its record is in the reject file", arguments: [0, 1, 2], [false, true])
    func once(mishap: Int, countsFirst: Bool) throws {
        try withTemporaryDirectory { directory in
            let (_, every, answer) = Self.mishaps[mishap]
            let table = CounterServer(countsFirst: countsFirst) { $0 % every == 0 ? answer : nil }
            defer { table.server?.stop() }
            tests.write(csv(0..<5000), directory + "/a.csv")
            let report = try runLoad(options(table, directory + "/a.csv"))
            let rejects = rejects(directory + "/a.csv.rejected")
            #expect(report.unknown > 0 && report.unknown == rejects.count && report.refused == 0)
            #expect(report.rows + report.unknown == 5000)
            #expect(rejects.values.allSatisfy { $0.hasPrefix("outcome unknown: ") })
            let counts = table.state.withLock { $0.counts }
            for id in Int32(0)..<5000 {
                let count = counts[id] ?? 0
                #expect(rejects[id] == nil ? count == 1 : count <= 1, "\(id)")
            }
            #expect(tests.read(directory + "/a.csv.auspex-load") == nil)
        }
    }

    @Test("counts that the server has not executed are sent again") func again() throws {
        try withTemporaryDirectory { directory in
            let table = CounterServer { request in
                if request % 50 == 0 { return .error(ServerError(.overloaded, "busy")) }
                return request % 333 == 0
                    ? .error(ServerError(.unprepared, "forgotten", detail: .unprepared(id: [1]))) : nil
            }
            defer { table.server?.stop() }
            tests.write(csv(0..<2000) + "7,x,1\n8,,5\n", directory + "/a.csv")
            let report = try runLoad(options(table, directory + "/a.csv"))
            #expect(report.rows == 2001 && report.refused == 1 && report.unknown == 0)
            table.state.withLock { state in
                #expect(state.counts.count == 2000)
                #expect(state.counts.allSatisfy { $0.value == ($0.key == 8 ? 6 : 1) })
            }
        }
    }

    @Test("a load that stops reports the fate of every record") func stops() throws {
        try withTemporaryDirectory { directory in
            tests.write(csv(0..<20_000), directory + "/a.csv")
            let state = directory + "/a.csv.auspex-load"
            let rejected = directory + "/a.csv.rejected"
            let first = CounterServer { $0 > 6000 ? .error(.invalid("no more")) : nil }
            defer { first.server?.stop() }
            var options = options(first, directory + "/a.csv")
            options.maxErrors = 10
            #expect(throws: LoadError.self) { _ = try runLoad(options) }
            #expect(tests.read(state) != nil)
            let before = rejects(rejected)
            let second = CounterServer()
            defer { second.server?.stop() }
            options.connection.port = second.server?.port ?? 0
            options.maxErrors = nil
            let report = try runLoad(options)
            #expect(tests.read(state) == nil)
            let after = rejects(rejected)
            let firstCounts = first.state.withLock { $0.counts }
            #expect(report.resumed <= firstCounts.count && report.resumed > 5000)
            let secondCounts = second.state.withLock { $0.counts }
            for id in Int32(0)..<20_000 {
                let count = (firstCounts[id] ?? 0) + (secondCounts[id] ?? 0)
                #expect(before[id] == nil && after[id] == nil ? count == 1 : count <= 1, "\(id): \(count)")
            }
        }
    }

    @Test("after a kill, chunks in flight are not sent again, and later ones are") func killed() throws {
        try withTemporaryDirectory { directory in
            let path = directory + "/a.csv"
            tests.write(csv(0..<1000), path)
            let source = try RecordSource(path, framing: .csv(CSVDialect(delimiter: UInt8(ascii: ","))))
            let identity = source.identity
            let text = csv(0..<1000)
            func offset(_ id: Int) throws -> Int {
                let range = try #require(text.utf8.firstRange(of: Array("\n\(id),".utf8)))
                return text.utf8.distance(from: text.startIndex, to: range.lowerBound) + 1
            }
            var state = LoadState(
                size: try #require(identity.size), modified: identity.modified, target: "k.t id,n,m",
                offset: try offset(500), line: 502,
                rows: 350)
            state.open = [RecordSpan(start: try offset(100), end: try offset(200), line: 102)]
            state.unsent = [RecordSpan(start: try offset(300), end: try offset(350), line: 302)]
            tests.write(state.text, path + ".auspex-load")
            #expect(LoadState(parsing: state.text) == state)
            let table = CounterServer()
            defer { table.server?.stop() }
            let report = try runLoad(options(table, path))
            #expect(report.resumed == 350 && report.unknown == 100 && report.rows == 550)
            #expect(Set(rejects(path + ".rejected").keys) == Set(100..<200))
            #expect(Set(table.state.withLock { $0.counts.keys }) == Set(300..<350).union(500..<1000))

            // The state of another load is refused, because ignoring it would count twice.
            tests.write(state.text.replacing("k.t id", with: "k.u id"), path + ".auspex-load")
            #expect(throws: LoadError.self) { _ = try runLoad(options(table, path)) }
            unlink(path + ".auspex-load")
        }
    }
}
