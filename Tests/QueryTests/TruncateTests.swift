import CQL
import Coordinator
import DataModel
import Messages
import Primitives
import Synchronization
import Testing

@testable import Query

/// A replica where something happens just before a request arrives, which then fails with `error`.
private final class OvertakenPort: ReplicaPort {
    let replica: MemoryReplica
    let before = Mutex<(@Sendable () -> Void)?>(nil)
    let error: ReplicaError
    let refreshed = Atomic<Int>(0)

    init(_ replica: MemoryReplica, _ error: ReplicaError) {
        self.replica = replica
        self.error = error
    }

    private func overtake() throws(ReplicaError) {
        let happens = before.withLock { before in
            defer { before = nil }
            return before
        }
        guard let happens else { return }
        happens()
        throw error
    }

    func refresh() { refreshed.add(1, ordering: .relaxed) }

    func apply(_ mutations: borrowing MutationWriter, type: WriteType) throws(ReplicaError) {
        try overtake()
        try replica.apply(mutations, type: type)
    }

    func applyCounters(_ deltas: borrowing MutationWriter) throws(ReplicaError) {
        try overtake()
        try replica.applyCounters(deltas)
    }

    func withTransaction(table: UUID, partition: [UInt8], reading: [UInt8]?, _ body: () -> Bool) throws(ReplicaError) {
        try replica.withTransaction(table: table, partition: partition, reading: reading, body)
    }

    func scan(
        table: UUID, range: KeyRange, reversed: Bool, _ visit: (UnsafeRawBufferPointer, RowView) -> ScanStep
    ) throws(ReplicaError) {
        try overtake()
        try replica.scan(table: table, range: range, reversed: reversed, visit)
    }

    func get(table: UUID, key: borrowing ByteWriter, _ visit: (RowView) -> Void) throws(ReplicaError) {
        try overtake()
        try replica.get(table: table, key: key, visit)
    }
}

@Suite("TRUNCATE") struct TruncateTests {
    private func session() throws -> Session {
        let session = Session()
        for text in [
            "CREATE KEYSPACE k WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
            "CREATE TABLE k.t (a int PRIMARY KEY, b text)", "CREATE TABLE k.u (a int PRIMARY KEY, b text)",
            "CREATE TABLE k.n (a int PRIMARY KEY, c counter)", "INSERT INTO k.t (a, b) VALUES (1, 'one')",
            "INSERT INTO k.u (a, b) VALUES (1, 'one')", "UPDATE k.n SET c = c + 5 WHERE a = 1",
        ] { _ = try session.execute(text) }
        return session
    }

    private func rows(_ answer: Answer) throws -> [[String]] {
        guard case .rows(let rows) = answer.result else { throw ServerError(.serverError, "no rows") }
        return rows.texts
    }

    @Test("rows are removed, the table gets a new id, and everything else stays") func empties() throws {
        let session = try session()
        _ = try session.execute("ALTER TABLE k.t DROP b")
        _ = try session.execute("ALTER TABLE k.t ADD d int")
        let before = try #require(session.engine.schema.table("k", "t"))
        let select = try session.engine.prepare("SELECT * FROM k.t", keyspace: nil)
        #expect(try rows(session.execute(select)) == [["1", "null"]])
        let announced = session.host.state.withLock { $0.announced.count }
        for _ in 0..<2 {
            guard case .void = try session.execute("TRUNCATE TABLE k.t").result else {
                Issue.record("TRUNCATE answers nothing")
                return
            }
        }
        let after = try #require(session.engine.schema.table("k", "t"))
        #expect(after.id != before.id && after.columns == before.columns && after.nextColumnID == before.nextColumnID)
        #expect(session.host.state.withLock { $0.announced.count } == announced)
        // Prepared statements stay valid.
        #expect(session.engine.prepared(select.id) === select)
        #expect(try rows(session.execute(select)) == [])
        _ = try session.execute("INSERT INTO k.t (a, d) VALUES (2, 3)")
        #expect(try rows(session.execute(select)) == [["2", "3"]])
        #expect(try rows(session.execute("SELECT b FROM k.u")) == [["\"one\""]])
        _ = try session.execute("TRUNCATE k.n")
        _ = try session.execute("UPDATE k.n SET c = c + 2 WHERE a = 1")
        #expect(try rows(session.execute("SELECT c FROM k.n")) == [["2"]])
    }

    @Test("a missing or virtual table cannot be truncated", arguments: ["k.missing", "system.local", "missing.t"])
    func refused(name: String) throws {
        let session = try session()
        #expect(throws: ServerError.self) { _ = try session.execute("TRUNCATE \(name)") }
    }

    @Test(
        "a request whose table is truncated meanwhile is executed on the new table",
        arguments: [
            "INSERT INTO k.t (a, b) VALUES (7, 'seven')", "SELECT b FROM k.t WHERE a = 1", "SELECT b FROM k.t",
            "UPDATE k.n SET c = c + 1 WHERE a = 1",
            "BEGIN BATCH INSERT INTO k.t (a, b) VALUES (7, 'seven'); INSERT INTO k.t (a, b) VALUES (8, 'eight'); APPLY BATCH",
        ])
    func overtaken(text: String) throws {
        let session = try session()
        let name = text.contains("k.n") ? "n" : "t"
        let old = try #require(session.engine.schema.table("k", name)).id
        let port = OvertakenPort(session.replica, .unknownTable(old))
        let box = UncheckedBox(session)
        port.before.withLock { $0 = { do { _ = try box.value.empty(name) } catch { Issue.record("\(error)") } } }
        session.options.port = port
        let statement = try session.engine.prepare(text, keyspace: nil)
        let answer = try session.execute(statement)
        #expect(port.refreshed.load(ordering: .relaxed) == 1)
        if text.hasPrefix("SELECT") { #expect(try rows(answer) == []) }
        session.options.port = nil
        switch name {
        case "n": #expect(try rows(session.execute("SELECT c FROM k.n")) == [["1"]])
        default:
            let expected = text.hasPrefix("SELECT") ? [] : text.hasPrefix("BEGIN") ? [["7"], ["8"]] : [["7"]]
            #expect(try rows(session.execute("SELECT a FROM k.t")).sorted { $0[0] < $1[0] } == expected)
        }
    }

    @Test("truncating one of two counter tables does not increment the other twice")
    func countersOfTwo() throws {
        let session = try session()
        _ = try session.execute("CREATE TABLE k.m (a int PRIMARY KEY, c counter)")
        let old = try #require(session.engine.schema.table("k", "n")).id
        let port = OvertakenPort(session.replica, .unknownTable(old))
        let box = UncheckedBox(session)
        port.before.withLock { $0 = { do { _ = try box.value.empty("n") } catch { Issue.record("\(error)") } } }
        session.options.port = port
        do {
            _ = try session.execute(
                "BEGIN COUNTER BATCH UPDATE k.m SET c = c + 1 WHERE a = 1; UPDATE k.n SET c = c + 1 WHERE a = 1; APPLY BATCH"
            )
            Issue.record("executed")
        } catch {
            #expect(error.code == .invalid)
        }
    }

    @Test("a request whose table is dropped meanwhile reports the missing table; other errors are passed on")
    func dropped() throws {
        let session = try session()
        let port = OvertakenPort(session.replica, .storage("the disk is gone"))
        let box = UncheckedBox(session)
        session.options.port = port
        port.before.withLock { $0 = {} }
        #expect(throws: ServerError(.serverError, "the disk is gone")) { _ = try session.execute("SELECT * FROM k.t") }
        port.before.withLock {
            $0 = { do { _ = try box.value.run("DROP TABLE k.t") } catch { Issue.record("\(error)") } }
        }
        let statement = try session.engine.prepare("SELECT * FROM k.t", keyspace: nil)
        do {
            _ = try session.execute(statement)
            Issue.record("executed")
        } catch {
            #expect(error.code == .invalid && error.message.contains("does not exist"))
        }
    }

    @Test("a table that is created again with another definition does not count as truncated") func difference()
        throws
    {
        let session = try session()
        let before = session.engine.schema
        let old = try #require(before.table("k", "t"))
        let emptied = SchemaDifference(from: before, to: before.setting(old.emptied(UUID(high: 9, low: 9))))
        #expect(emptied.changes.isEmpty && !emptied.isEmpty && emptied.emptied == [old.id])
        #expect(emptied.created.map(\.id) == [UUID(high: 9, low: 9)] && emptied.dropped.map(\.id) == [old.id])
        let other = SchemaDifference(
            from: before,
            to: before.setting(old.emptied(UUID(high: 9, low: 9)).adding(column: "e", type: .int, isStatic: false)))
        #expect(other.changes.map(\.kind) == [.dropped, .created] && other.emptied.isEmpty)
    }
}

/// SAFETY: everything runs on the test's thread.
private struct UncheckedBox: @unchecked Sendable {
    let value: Session
    init(_ value: Session) { self.value = value }
}

extension Session {
    /// Uses its own scratch space, since another request of this session is in progress.
    fileprivate func run(_ text: String) throws -> Answer {
        try engine.execute(
            engine.statement(text, keyspace: nil), options: QueryOptions(),
            context: RequestContext())
    }

    fileprivate func empty(_ table: String) throws -> Answer { try run("TRUNCATE k.\(table)") }
}
