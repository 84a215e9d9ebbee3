import DataModel
import Platform
import Testing

@testable import Query

/// A request runs on a fiber, whose stack does not grow. These tests execute every kind of statement, and the deepest
/// nesting that is accepted, and measure how much of the stack they use.
@Suite struct StackTests {
    /// What must be left of the stack: signal handlers, the C library and the I/O below a request need some of it.
    static let reserve = FiberPool.defaultStackBytes / 4

    static let kinds = [
        "CREATE KEYSPACE k WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}", "USE k",
        "CREATE TABLE t (p int, c int, v text, l list<int>, m map<text, int>, s int static, u timeuuid, PRIMARY KEY (p, c))",
        "CREATE TABLE n (p int PRIMARY KEY, c counter)", "ALTER TABLE t ADD w frozen<list<tuple<int, text>>>",
        "INSERT INTO t (p, c, v, l, m, s, u) VALUES (1, 1, 'x', [1, 2, 3], {'a': 1}, 7, now())",
        "INSERT INTO t JSON '{\"p\": 2, \"c\": 1, \"v\": \"y\", \"l\": [1, 2], \"m\": {\"a\": 1}, \"w\": [[1, \"z\"]]}'",
        "UPDATE t SET v = 'z', l = l + [4], m['b'] = 2 WHERE p = 1 AND c = 1",
        "UPDATE t SET l[0] = 5 WHERE p = 1 AND c = 1",
        "UPDATE n SET c = c + 1 WHERE p = 1", "INSERT INTO t (p, c) VALUES (3, 3) IF NOT EXISTS",
        "UPDATE t SET v = 'w' WHERE p = 1 AND c = 1 IF v = 'z' AND l[1] = 2",
        "BEGIN BATCH INSERT INTO t (p, c) VALUES (4, 4); DELETE FROM t WHERE p = 4 AND c < 3; APPLY BATCH",
        "BEGIN BATCH INSERT INTO t (p, c) VALUES (5, 5) IF NOT EXISTS; UPDATE t SET v = 'b' WHERE p = 5 AND c = 6; APPLY BATCH",
        "SELECT * FROM t", "SELECT * FROM t WHERE p IN (1, 2, 3) AND c IN (1, 3)", "SELECT JSON * FROM t WHERE p = 1",
        "SELECT p, count(*), sum(c), max(v) FROM t GROUP BY p", "SELECT DISTINCT p, s FROM t",
        "SELECT * FROM t WHERE token(p) > 0 AND v = 'x' ALLOW FILTERING",
        "SELECT * FROM t WHERE p IN (1, 2) ORDER BY c DESC",
        "SELECT toJson(l), CAST(c AS text), ttl(v), writetime(v) FROM t WHERE p = 1 PER PARTITION LIMIT 1",
        "DELETE v, l[0], m['a'] FROM t WHERE p = 1 AND c = 1", "DELETE FROM t WHERE p = 1", "DESCRIBE TABLE t",
        "DESCRIBE SCHEMA",
        "SELECT * FROM system_schema.columns", "SELECT * FROM system.local", "TRUNCATE t", "DROP TABLE n",
    ]

    private func limit(_ session: Session, _ text: String) {
        #expect(
            session.deepestStackBytes < FiberPool.defaultStackBytes - StackTests.reserve,
            "\(session.deepestStackBytes) bytes of the stack for \(text.prefix(100))")
    }

    @Test("every kind of statement leaves a quarter of the stack free") func kinds() throws {
        let session = Session(waitsOneIn: 2)
        session.options.keyspace = "k"
        for text in StackTests.kinds {
            _ = try session.execute(text)
            limit(session, text)
        }
    }

    @Test("nested expressions never overflow the stack") func nesting() throws {
        let session = Session()
        session.options.keyspace = "k"
        for text in StackTests.kinds.prefix(4) { _ = try session.execute(text) }
        _ = try session.execute("INSERT INTO t (p, c) VALUES (1, 1)")
        func nested(_ depth: Int, _ open: String, _ inner: String, _ close: String) -> String {
            String(repeating: open, count: depth) + inner + String(repeating: close, count: depth)
        }
        let texts: [(Int) -> String] = [
            { "SELECT * FROM t WHERE p = \(nested($0, "(int)(", "1", ")"))" },
            { "SELECT * FROM t WHERE p = \(nested($0, "-(", "1", ")"))" },
            { "INSERT INTO t (p, c, l) VALUES (1, 1, \(nested($0, "[", "1", "]")))" },
            { "SELECT * FROM t WHERE p = 1" + String(repeating: " + 1", count: $0) },
            { "SELECT c" + String(repeating: " + c", count: $0) + " FROM t" },
            { "SELECT \(nested($0, "-(", "c", ")")) FROM t" },
            { "SELECT \(nested($0, "CAST(", "c", " AS int)")) FROM t" },
            { "UPDATE t SET l = \(nested($0, "[", "now()", "]")) WHERE p = 1 AND c = 1" },
            { "SELECT \(nested($0, "abs(", "c", ")")) FROM t" },
            { "SELECT \(nested($0, "toJson(", "c", ")")) FROM t" },
            { "CREATE TABLE d\($0) (p int PRIMARY KEY, v \(nested($0, "frozen<list<", "int", ">>")))" },
            { "INSERT INTO t JSON '{\"p\": 1, \"c\": 1, \"l\": \(nested($0, "[", "1", "]"))}'" },
            { "INSERT INTO t JSON '{\"p\": 1, \"c\": 1, \"m\": \(nested($0, "{\"a\":", "1", "}"))}'" },
        ]
        for text in texts {
            for depth in [8, 31, 32, 47, 48, 49, 50, 51, 63, 64, 100, 5000] {
                // Whether it is accepted or refused, it must not overflow the stack.
                do { _ = try session.execute(text(depth)) } catch {
                    #expect(error.code != .serverError, "\(error.message)")
                }
                limit(session, text(depth))
            }
        }
    }
}
