import CQL
import DataModel
import Messages
import Primitives
import Testing

@testable import Query

@Suite struct EngineTests {
    static func session(_ limits: QueryLimits = QueryLimits()) throws -> Session {
        let session = Session(limits: limits)
        _ = try session.execute(
            "CREATE KEYSPACE k WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
        session.options.keyspace = "k"
        return session
    }

    static func rows(_ answer: Answer) throws -> [[String]] {
        guard case .rows(let rows) = answer.result else { throw ServerError.invalid("no rows but \(answer.result)") }
        return rows.texts
    }

    static func values(_ list: [[UInt8]?]) -> ValueList {
        var values = ValueList()
        for value in list { if let value { values.append(value) } else { values.appendNull() } }
        return values
    }

    @Test func preparedStatementBindsNullUnsetAndNamedValues() throws {
        let session = try EngineTests.session()
        _ = try session.execute("CREATE TABLE t (id int PRIMARY KEY, a text, b int)")
        let insert = try session.engine.prepare("INSERT INTO t (id, a, b) VALUES (?, ?, :size)", keyspace: "k")
        #expect(insert.planned.bindVariables.map(\.name) == ["id", "a", "size"])
        #expect(insert.planned.partitionKeyIndexes == [0])
        _ = try session.execute(
            insert, EngineTests.values([NativeValue.int(1), NativeValue.text("x"), NativeValue.int(5)]))
        var unset = ValueList()
        unset.append(NativeValue.int(1))
        unset.appendUnset()
        unset.appendNull()
        _ = try session.execute(insert, unset)
        #expect(try EngineTests.rows(session.execute("SELECT * FROM t")) == [["1", "\"x\"", "null"]])

        var named = ValueList()
        for (name, value) in [
            ("size", NativeValue.int(9)), ("a", NativeValue.text("named")), ("id", NativeValue.int(2)),
        ] {
            named.appendName(name)
            named.append(value)
        }
        _ = try session.execute(insert, named)
        #expect(try EngineTests.rows(session.execute("SELECT * FROM t WHERE id = 2")) == [["2", "\"named\"", "9"]])

        #expect(throws: ServerError.self) { try session.execute(insert, EngineTests.values([NativeValue.int(1)])) }
        #expect(throws: ServerError.self) {
            try session.execute(insert, EngineTests.values([[1, 2, 3], NativeValue.text("x"), NativeValue.int(5)]))
        }
        var missing = named
        missing.removeAll()
        missing.appendName("id")
        missing.append(NativeValue.int(1))
        #expect(throws: ServerError.self) { try session.execute(insert, missing) }
    }

    @Test func sameTextIsPreparedOnce() throws {
        let session = try EngineTests.session()
        _ = try session.execute("CREATE TABLE t (id int PRIMARY KEY)")
        let first = try session.engine.prepare("SELECT * FROM t", keyspace: "k")
        #expect(try session.engine.prepare("SELECT * FROM t", keyspace: "k") === first)
        #expect(session.engine.prepared(first.id) === first)
        #expect(StatementID(first.id.bytes) == first.id)
        #expect(StatementID([1, 2]) == nil)
        #expect(StatementID(keyspace: "k", text: "x") != StatementID(keyspace: nil, text: "x"))
    }

    @Test func cacheEvictsLeastRecentlyUsedStatement() throws {
        var limits = QueryLimits()
        limits.preparedStatementsCacheSize = 12_000
        let session = try EngineTests.session(limits)
        _ = try session.execute("CREATE TABLE t (id int PRIMARY KEY)")
        let kept = try session.engine.prepare("SELECT id FROM t WHERE id = 0", keyspace: "k")
        var ids: [StatementID] = []
        for number in 1...1000 {
            ids.append(try session.engine.prepare("SELECT id FROM t WHERE id = \(number)", keyspace: "k").id)
            #expect(session.engine.prepared(kept.id) === kept)
        }
        let (count, forgotten) = session.engine.preparedCounts
        #expect(count <= 12 && count >= 8)
        #expect(count + forgotten == 1001)
        #expect(session.engine.prepared(ids[0]) == nil)
        #expect(session.engine.prepared(ids[999]) != nil)
    }

    @Test func preparedStatementIsCompiledAgainAfterSchemaChange() throws {
        let session = try EngineTests.session()
        _ = try session.execute("CREATE TABLE t (id int PRIMARY KEY, a int)")
        _ = try session.execute("INSERT INTO t (id, a) VALUES (1, 2)")
        let select = try session.engine.prepare("SELECT * FROM t", keyspace: "k")
        let before = select.resultMetadataID
        _ = try session.execute("ALTER TABLE t ADD b int")
        #expect(try EngineTests.rows(session.execute(select)) == [["1", "2", "null"]])
        #expect(select.resultMetadataID != before)
        _ = try session.execute("DROP TABLE t")
        #expect(throws: ServerError.self) { try session.execute(select) }
    }

    /// After ALTER TABLE a prepared statement is not found, so that a driver prepares it again and learns the new
    /// result columns.
    @Test func alteredTableEvictsItsPreparedStatements() throws {
        let session = try EngineTests.session()
        _ = try session.execute("CREATE TABLE t (id int PRIMARY KEY, a int)")
        _ = try session.execute("CREATE TABLE other (id int PRIMARY KEY)")
        let select = try session.engine.prepare("SELECT * FROM t", keyspace: "k")
        let kept = try session.engine.prepare("SELECT * FROM other", keyspace: "k")
        _ = try session.execute("ALTER TABLE t ADD b int")
        #expect(session.engine.prepared(select.id) == nil)
        #expect(session.engine.prepared(kept.id) === kept)
        #expect(try session.engine.prepare("SELECT * FROM t", keyspace: "k").planned.resultMetadata?.columns.count == 3)
    }

    @Test func slowRequestsAreReported() throws {
        var limits = QueryLimits()
        limits.slowQuery = .milliseconds(200)
        let session = try EngineTests.session(limits)
        _ = try session.execute("CREATE TABLE t (id int PRIMARY KEY)")
        _ = try session.execute("INSERT INTO t (id) VALUES (1)")
        #expect(session.host.state.withLock { $0.slow } == [])
        session.microsecondsPerLook = 150_000
        _ = try session.execute("SELECT * FROM t WHERE id = 1")
        #expect(session.host.state.withLock { $0.slow } == [])
        session.microsecondsPerLook = 250_000
        _ = try session.execute("SELECT * FROM t WHERE id = 1")
        #expect(session.host.state.withLock { $0.slow } == ["250 SELECT * FROM t WHERE id = 1"])
    }

    @Test func schemaChangesAreStoredAndAnnounced() throws {
        let session = try EngineTests.session()
        _ = try session.execute("CREATE TABLE t (id int PRIMARY KEY, a int)")
        _ = try session.execute("DROP TABLE t")
        let state = session.host.state.withLock { $0 }
        #expect(
            state.announced.map { "\($0.kind) \($0.target) \($0.keyspace).\($0.name)" } == [
                "created keyspace k.", "created table k.t", "dropped table k.t",
            ])
        #expect(state.dropped == ["k.t"])
        let decoded = try Schema(decoding: state.stored)
        #expect(decoded.keyspaces.keys.sorted() == ["k"])
        #expect(decoded.version == session.engine.schema.version)
    }

    @Test func batchMessages() throws {
        let session = try EngineTests.session()
        _ = try session.execute("CREATE TABLE t (id int PRIMARY KEY, a int)")
        let insert = try session.engine.prepare("INSERT INTO t (id, a) VALUES (?, ?)", keyspace: "k")
        let delete = try session.engine.statement("DELETE FROM t WHERE id = 5", keyspace: "k")
        var items: [(statement: PreparedStatement, values: ValueList)] = [(delete, ValueList())]
        for id in 0..<3 {
            items.append((insert, EngineTests.values([NativeValue.int(Int32(id)), NativeValue.int(7)])))
        }
        let answer = try session.engine.executeBatch(.logged, items, options: session.options, context: session.context)
        guard case .void = answer.result else { throw ServerError.invalid("not void") }
        #expect(try EngineTests.rows(session.execute("SELECT count(*) FROM t")) == [["3"]])
        let select = try session.engine.statement("SELECT * FROM t", keyspace: "k")
        #expect(
            throws: ServerError.invalid(
                "Invalid statement in batch: only UPDATE, INSERT and DELETE statements are allowed.")
        ) {
            try session.engine.executeBatch(
                .logged, [(select, ValueList())], options: session.options, context: session.context)
        }
    }

    @Test func largeBatchesWarnAndFail() throws {
        let session = try EngineTests.session()
        _ = try session.execute("CREATE TABLE t (id int PRIMARY KEY, a text)")
        let insert = try session.engine.prepare("INSERT INTO t (id, a) VALUES (?, ?)", keyspace: "k")
        func run(_ count: Int, _ length: Int, samePartition: Bool) throws -> Answer {
            let items = (0..<count).map { number in
                (
                    statement: insert,
                    values: EngineTests.values([
                        NativeValue.int(samePartition ? 1 : Int32(number)),
                        NativeValue.text(String(repeating: "x", count: length)),
                    ])
                )
            }
            return try session.engine.executeBatch(.logged, items, options: session.options, context: session.context)
        }
        #expect(try run(4, 100, samePartition: false).warnings == [])
        let warnings = try run(6, 1000, samePartition: false).warnings
        #expect(warnings.count == 1)
        #expect(warnings.first?.hasPrefix("Batch for [k.t] is of size 6.") == true)
        #expect(warnings.first?.contains("exceeding specified threshold of 5.000KiB by 1.") == true)
        #expect(throws: ServerError.invalid("Batch too large")) { try run(60, 1000, samePartition: false) }
        #expect(try run(60, 1000, samePartition: true).warnings == [])
    }

    @Test func tombstoneThresholdsWarnAndFail() throws {
        var limits = QueryLimits()
        limits.tombstoneWarnThreshold = 10
        limits.tombstoneFailureThreshold = 20
        let session = try EngineTests.session(limits)
        _ = try session.execute("CREATE TABLE t (p int, c int, v int, PRIMARY KEY (p, c))")
        for c in 0..<15 { _ = try session.execute("UPDATE t SET v = null WHERE p = 1 AND c = \(c)") }
        let answer = try session.execute("SELECT * FROM t WHERE p = 1")
        #expect(answer.warnings.count == 1 && answer.warnings[0].contains("0 live rows and 15 tombstone cells"))
        for c in 15..<30 { _ = try session.execute("UPDATE t SET v = null WHERE p = 1 AND c = \(c)") }
        #expect {
            try session.execute("SELECT * FROM t WHERE p = 1")
        } throws: {
            guard let error = $0 as? ServerError else { return false }
            return error.code == .readFailure
        }
    }

    @Test func tooLargeValuesAndListsAreRefused() throws {
        var limits = QueryLimits()
        limits.maxMutationSize = 10_000
        limits.maxCartesianProduct = 100
        let session = try EngineTests.session(limits)
        _ = try session.execute("CREATE TABLE t (k text, c text, v text, PRIMARY KEY (k, c))")
        func text(_ length: Int) -> String { String(repeating: "x", count: length) }
        #expect(throws: ServerError.self) {
            try session.execute("INSERT INTO t (k, c, v) VALUES ('a', 'b', '\(text(10_000))')")
        }
        #expect(throws: ServerError.invalid("Key length of 65536 is longer than maximum of 65535")) {
            try session.execute("INSERT INTO t (k, c) VALUES ('\(text(65_536))', 'b')")
        }
        #expect(throws: ServerError.invalid("The sum of all clustering columns is too long (65536 > 65535)")) {
            try session.execute("INSERT INTO t (k, c) VALUES ('a', '\(text(65_536))')")
        }
        let many = (0..<101).map { "'\($0)'" }.joined(separator: ", ")
        #expect(throws: ServerError.self) { try session.execute("SELECT * FROM t WHERE k IN (\(many))") }
        #expect(throws: ServerError.self) { try session.execute("SELECT * FROM t WHERE k = 'a' AND c IN (\(many))") }
    }

    @Test func tracesAreReadableUntilNewerOnesReplaceThem() throws {
        let session = try EngineTests.session()
        session.options.isTracing = true
        let answer = try session.execute("SELECT key FROM system.local")
        let id = try #require(answer.tracingID)
        session.options.isTracing = false
        let rows = try EngineTests.rows(
            session.execute("SELECT session_id, command, duration FROM system_traces.sessions WHERE session_id = \(id)")
        )
        #expect(rows.count == 1 && rows[0][0] == "\"\(id)\"" && rows[0][1] == "\"QUERY\"" && rows[0][2] != "null")
        let events = try EngineTests.rows(
            session.execute("SELECT activity FROM system_traces.events WHERE session_id = \(id)"))
        #expect(events.count >= 2)
        session.options.isTracing = true
        for _ in 0..<300 { _ = try session.execute("SELECT key FROM system.local") }
        #expect(session.engine.traces.sessions.count == TraceStore.capacity)
        #expect(session.engine.traces.session(id) == nil)
    }

    /// Reading a page does not read the rows of earlier pages.
    @Test func nextPageDoesNotReadEarlierRows() throws {
        let session = try EngineTests.session()
        _ = try session.execute("CREATE TABLE t (p int, c int, PRIMARY KEY (p, c))")
        for c in 0..<200 { _ = try session.execute("INSERT INTO t (p, c) VALUES (1, \(c))") }
        session.options.pageSize = 10
        var pages = 0
        let before = session.replica.visited
        repeat {
            guard case .rows(let rows) = try session.execute("SELECT c FROM t WHERE p = 1").result else { break }
            session.options.pagingState = rows.pagingState
            pages += 1
        } while session.options.pagingState != nil
        #expect(pages == 20)
        #expect(session.replica.visited - before <= 200 + pages)
    }

    /// DISTINCT skips the rows of a wide partition.
    @Test func distinctSkipsTheRestOfAPartition() throws {
        let session = try EngineTests.session()
        _ = try session.execute("CREATE TABLE t (p int, c int, PRIMARY KEY (p, c))")
        for c in 0..<500 { _ = try session.execute("INSERT INTO t (p, c) VALUES (1, \(c))") }
        _ = try session.execute("INSERT INTO t (p, c) VALUES (2, 1)")
        let before = session.replica.visited
        #expect(try EngineTests.rows(session.execute("SELECT DISTINCT p FROM t")) == [["1"], ["2"]])
        #expect(session.replica.visited - before < 100)
    }
}
