import DataModel
import Primitives
import Testing

#if canImport(Glibc)
    import Glibc
#endif

@testable import CQL

/// Whatever the text, the parser and planner answer or throw; they never trap, hang or overflow the stack.
///
/// `AUSPEX_FUZZ_ROUNDS` sets the number of rounds, `AUSPEX_FUZZ_SEED` the seed.
@Suite struct ParserFuzzTests {
    private static func setting(_ name: String, default value: UInt64) -> UInt64 {
        getenv(name).flatMap { UInt64(String(cString: $0)) } ?? value
    }
    private static var rounds: UInt64 { setting("AUSPEX_FUZZ_ROUNDS", default: 20_000) }
    private static func random(_ seed: UInt64) -> SeededRandom {
        let seed = setting("AUSPEX_FUZZ_SEED", default: seed)
        print("seed \(seed)")
        return SeededRandom(seed: seed)
    }

    static let words = [
        "SELECT", "FROM", "WHERE", "INSERT", "INTO", "VALUES", "UPDATE", "SET", "DELETE", "BEGIN", "BATCH", "APPLY",
        "CREATE", "TABLE",
        "KEYSPACE",
        "WITH", "AND", "IN", "IF", "NOT", "EXISTS", "TOKEN", "token", "JSON", "DISTINCT", "LIMIT", "ORDER", "BY",
        "GROUP", "ALLOW",
        "FILTERING",
        "CONTAINS", "KEY", "USING", "TTL", "TIMESTAMP", "cast", "as", "count", "t", "k", "v", "l", "m", "int", "text",
        "list", "map",
        "frozen",
        "(", ")", "[", "]", "{", "}", ",", ";", ":", ".", "..", "=", "<", ">", "<=", ">=", "!=", "+", "-", "*", "/",
        "%", "+=", "-=", "?",
        "1", "-1",
        "2.5", "1e5", "'a'", "\"B\"", "0xff", "null", "true", "NaN", "1h", "P1Y", "$$x$$", "--c\n", "/*c*/", "now",
        "writetime", "tojson",
        "max",
        "PRIMARY", "DESCRIBE", "PER", "PARTITION", "DEFAULT", "UNSET", "COUNTER", "static",
        "11111111-2222-3333-4444-555555555555", "'",
        "\"", "\u{e9}",
    ]

    private func schema() throws -> Schema {
        var schema = Schema(keyspaces: [KeyspaceMetadata(name: "ks", replication: [:])])
        for text in [
            "CREATE TABLE t (k int PRIMARY KEY, v text, l list<int>, m map<text, int>)",
            "CREATE TABLE c (k int, c int, d text, s int static, v int, PRIMARY KEY (k, c, d)) WITH CLUSTERING ORDER BY (c DESC, d ASC)",
        ] {
            guard case .schema(let plan) = try Planner.plan(text, schema: schema, keyspace: "ks").plan else { continue }
            schema = try plan.apply(to: schema, newTableID: UUID(high: 0, low: UInt64(schema.tables.count + 1))).schema
        }
        return schema
    }

    /// - Returns: whether the planner accepted the text.
    @discardableResult private func survives(_ bytes: [UInt8], _ schema: Schema) -> Bool {
        do throws(ServerError) {
            _ = try Planner.plan(try Parser.parse(bytes: bytes), schema: schema, keyspace: "ks")
            return true
        } catch { return false }
    }

    @Test func randomWordsNeverTrap() throws {
        let schema = try schema()
        var random = Self.random(20_261_122)
        for _ in 0..<Self.rounds {
            let count = Int(random.next() % 24) + 1
            let text = (0..<count).map { _ in Self.words[Int(random.next() % UInt64(Self.words.count))] }.joined(
                separator: " ")
            survives(Array(text.utf8), schema)
        }
    }

    @Test func damagedStatementsNeverTrap() throws {
        let schema = try schema()
        let statements = [
            "SELECT k, max(v), cast(k AS text), m['a'], l FROM t WHERE k IN (1, ?, :n) AND token(k) > 5 GROUP BY k LIMIT 10 ALLOW FILTERING",
            "SELECT * FROM c WHERE k = 1 AND (c, d) > (1, 'x') ORDER BY c DESC PER PARTITION LIMIT 3",
            "INSERT INTO t (k, v, l, m) VALUES (1, 'it''s', [1, 2 + 3], {'a': ?}) IF NOT EXISTS USING TTL 5",
            "UPDATE t USING TIMESTAMP 5 SET v = 'x', l = l + [1], m['a'] = null WHERE k = 1 IF v != 'a' AND l[0] IN (1, 2)",
            "BEGIN UNLOGGED BATCH DELETE m['a'] FROM t WHERE k = 1; INSERT INTO t JSON '{\"k\": 1}' DEFAULT UNSET; APPLY BATCH;",
            "CREATE TABLE x (a int, b frozen<map<text, list<int>>>, PRIMARY KEY ((a), b)) WITH CLUSTERING ORDER BY (b DESC) AND comment = $$a$$",
        ]
        var random = Self.random(42)
        var planned: UInt64 = 0
        for _ in 0..<Self.rounds {
            var bytes = Array(statements[Int(random.next() % UInt64(statements.count))].utf8)
            for _ in 0...(random.next() % 2) {
                let place = Int(random.next() % UInt64(bytes.count))
                switch random.next() % 4 {
                case 0: bytes[place] = UInt8(truncatingIfNeeded: random.next())
                case 1: bytes.remove(at: place)
                case 2: bytes.insert(UInt8(truncatingIfNeeded: random.next() % 128), at: place)
                default:
                    bytes.insert(
                        contentsOf: Array(Self.words[Int(random.next() % UInt64(Self.words.count))].utf8), at: place)
                }
                if bytes.isEmpty { break }
            }
            if survives(bytes, schema) { planned += 1 }
        }
        #expect(planned > Self.rounds / 100, "the damage leaves too few statements whole to reach the planner")
    }

    @Test func deepNestingIsRefused() throws {
        let schema = try schema()
        for unit in ["(", "[", "{", "-", "max(", "toJson([", "{1:", "(int)", "cast(", "1+(", "frozen<", "(list<int>)["]
        {
            for prefix in [
                "SELECT ", "INSERT INTO t (k) VALUES (", "SELECT * FROM t WHERE ", "SELECT * FROM t WHERE k = ",
                "CREATE TABLE x (k ",
            ] {
                #expect(!survives(Array((prefix + String(repeating: unit, count: 100_000)).utf8), schema))
            }
        }
        // The deepest nesting that is allowed, through the whole planner.
        for depth in [50, 90] {
            survives(
                Array(
                    ("SELECT " + String(repeating: "toJson([", count: depth) + "k"
                        + String(repeating: "])", count: depth) + " FROM t").utf8
                ), schema)
            survives(Array(("SELECT k" + String(repeating: " + 1", count: depth) + " FROM t").utf8), schema)
        }
        #expect(!survives(Array(("SELECT k" + String(repeating: " + 1", count: 1_000_000) + " FROM t").utf8), schema))
        #expect(!survives(Array(("SELECT k" + String(repeating: "[1]", count: 1_000_000) + " FROM t").utf8), schema))
    }

    @Test func longStatementsTakeLinearTime() throws {
        let schema = try schema()
        let clock = ContinuousClock()
        func time(_ count: Int) throws -> Duration {
            let list = (0..<count).map(String.init).joined(separator: ",")
            let text = Array(
                "INSERT INTO t (k, l, v) VALUES (1, [\(list)], '\(String(repeating: "x''", count: count))')".utf8)
            return clock.measure { #expect(survives(text, schema)) }
        }
        _ = try time(1000)
        let small = try time(20_000)
        let large = try time(160_000)
        #expect(large < small * 40, "8 times the text took \(large) against \(small)")
    }

    @Test func everyPrefixIsParsedOrRefused() throws {
        let schema = try schema()
        let text = Array(
            "SELECT k AS a, m['x'], count(*) /* c */ FROM ks.t WHERE token(k) >= -5 AND v = $$it's$$ -- end\n LIMIT 1 ALLOW FILTERING;"
                .utf8
        )
        for length in 0...text.count { survives(Array(text.prefix(length)), schema) }
    }

    @Test func everyMarkerIsABindVariable() throws {
        let planned = try Planner.plan(
            "SELECT * FROM t WHERE k = ? AND v = :name LIMIT ? ALLOW FILTERING", schema: try schema(), keyspace: "ks")
        #expect(planned.bindVariables.map(\.name) == ["k", "name", "[limit]"])
        #expect(planned.partitionKeyIndexes == [0])
    }
}
