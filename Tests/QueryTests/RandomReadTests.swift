import DataModel
import Primitives
import Testing

@testable import Query

/// Random tables and reads: the answer follows from the whole table, however the read is restricted, paged or reversed.
@Suite struct RandomReadTests {
    /// Makes a table with partition key `p`, clustering `(a ASC, b DESC)`, a static `s` and a value `v`, with random
    /// writes and deletions.
    private static func fill(_ session: Session, _ random: inout SeededRandom) throws {
        _ = try session.execute(
            "CREATE KEYSPACE k WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
        session.options.keyspace = "k"
        _ = try session.execute(
            "CREATE TABLE t (p int, a int, b int, s int static, v int, PRIMARY KEY (p, a, b)) WITH CLUSTERING ORDER BY (a ASC, b DESC)"
        )
        for _ in 0..<120 {
            let p = random.next() % 5
            let a = random.next() % 5
            let b = random.next() % 4
            switch random.next() % 12 {
            case 0: _ = try session.execute("DELETE FROM t WHERE p = \(p) AND a = \(a) AND b = \(b)")
            case 1: _ = try session.execute("DELETE FROM t WHERE p = \(p) AND a = \(a)")
            case 2: _ = try session.execute("DELETE FROM t WHERE p = \(p) AND a > \(a)")
            case 3: _ = try session.execute("UPDATE t SET s = \(a) WHERE p = \(p)")
            case 4: _ = try session.execute("UPDATE t SET v = null WHERE p = \(p) AND a = \(a) AND b = \(b)")
            case 5: _ = try session.execute("DELETE s FROM t WHERE p = \(p)")
            default:
                _ = try session.execute("INSERT INTO t (p, a, b, v) VALUES (\(p), \(a), \(b), \(random.next() % 100))")
            }
        }
    }

    private static func read(_ session: Session, _ text: String, page: Int = 0) throws -> [[String]] {
        session.options.pageSize = page
        defer {
            session.options.pageSize = 0
            session.options.pagingState = nil
        }
        var rows: [[String]] = []
        repeat {
            guard case .rows(let result) = try session.execute(text).result else { return rows }
            if page > 0 { #expect(result.rowCount <= page, "\(text): a page of \(page)") }
            rows += result.texts
            session.options.pagingState = result.pagingState
        } while session.options.pagingState != nil
        return rows
    }

    @Test("restricted, paged and reversed reads agree with the whole table", arguments: 1...30)
    func oneReplica(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        try RandomReadTests.check(Session(seed: random.next(), waitsOneIn: 3), &random, seed)
    }

    @Test(
        "reads through a coordinator and three nodes, at QUORUM, agree with the whole table", arguments: 1...2,
        QueryCluster.Kind.allCases)
    func threeNodes(seed: UInt64, kind: QueryCluster.Kind) throws {
        var random = SeededRandom(seed: seed)
        let session = Session(seed: seed, cluster: kind)
        session.options.consistency = .quorum
        try RandomReadTests.check(session, &random, seed)
    }

    private static func check(_ session: Session, _ random: inout SeededRandom, _ seed: UInt64) throws {
        try fill(session, &random)
        let all = try RandomReadTests.read(session, "SELECT p, a, b, s, v FROM t")
        let rows = all.filter { $0[1] != "null" }
        func number(_ row: [String], _ column: Int) -> Int { Int(row[column]) ?? -1 }

        for page in [1, 2, 3, 7, 1000] {
            #expect(
                try RandomReadTests.read(session, "SELECT p, a, b, s, v FROM t", page: page) == all,
                "seed \(seed), page \(page)")
            #expect(
                try RandomReadTests.read(session, "SELECT DISTINCT p, s FROM t", page: page)
                    == RandomReadTests.read(session, "SELECT DISTINCT p, s FROM t"), "seed \(seed), page \(page)")
            #expect(
                try RandomReadTests.read(session, "SELECT p, a, count(v) FROM t GROUP BY p, a", page: page)
                    == RandomReadTests.read(session, "SELECT p, a, count(v) FROM t GROUP BY p, a"),
                "seed \(seed), page \(page)")
            #expect(
                try RandomReadTests.read(session, "SELECT p, a, b FROM t PER PARTITION LIMIT 3 LIMIT 8", page: page)
                    == RandomReadTests.read(session, "SELECT p, a, b FROM t PER PARTITION LIMIT 3 LIMIT 8"),
                "seed \(seed), page \(page)")
            #expect(
                try RandomReadTests.read(session, "SELECT p, a, b, v FROM t WHERE v > 50 ALLOW FILTERING", page: page)
                    == rows.filter { number($0, 4) > 50 }.map { [$0[0], $0[1], $0[2], $0[4]] },
                "seed \(seed), page \(page)")
        }
        #expect(try RandomReadTests.read(session, "SELECT count(*) FROM t") == [["\(all.count)"]], "seed \(seed)")

        for p in 0..<5 {
            let partition = rows.filter { $0[0] == "\(p)" }
            for page in [0, 1, 2, 5] {
                #expect(
                    try RandomReadTests.read(
                        session, "SELECT p, a, b, s, v FROM t WHERE p = \(p) ORDER BY a DESC", page: page
                    ).filter {
                        $0[1] != "null"
                    }
                        == partition.reversed(), "seed \(seed), partition \(p), page \(page)")
                let low = Int(random.next() % 5)
                let high = Int(random.next() % 5)
                for (text, keeps) in [
                    ("a >= \(low) AND a < \(high)", { number($0, 1) >= low && number($0, 1) < high }),
                    ("a > \(low)", { number($0, 1) > low }),
                    ("a IN (\(low), \(high))", { number($0, 1) == low || number($0, 1) == high }),
                    ("a = \(low) AND b <= \(high)", { number($0, 1) == low && number($0, 2) <= high }),
                    ("a = \(low) AND b > \(high)", { number($0, 1) == low && number($0, 2) > high }),
                    (
                        "a IN (\(low), \(high)) AND b IN (1, 3)",
                        { [low, high].contains(number($0, 1)) && [1, 3].contains(number($0, 2)) }
                    ),
                ] as [(String, ([String]) -> Bool)] {
                    let expected = partition.filter(keeps)
                    let query = "SELECT p, a, b, s, v FROM t WHERE p = \(p) AND \(text)"
                    #expect(
                        try RandomReadTests.read(session, query, page: page) == expected,
                        "seed \(seed): \(query), page \(page)")
                    #expect(
                        try RandomReadTests.read(session, query + " ORDER BY a DESC, b ASC", page: page)
                            == expected.reversed(),
                        "seed \(seed): \(query) reversed, page \(page)")
                }
            }
        }

        // Any division of the ring returns each partition exactly once.
        let cuts = (0..<3).map { _ in Int64(bitPattern: random.next()) }.sorted()
        var pieces = try RandomReadTests.read(session, "SELECT p, a, b, s, v FROM t WHERE token(p) <= \(cuts[0])")
        for (low, high) in zip(cuts, cuts.dropFirst()) {
            pieces += try RandomReadTests.read(
                session, "SELECT p, a, b, s, v FROM t WHERE token(p) > \(low) AND token(p) <= \(high)", page: 4)
        }
        pieces += try RandomReadTests.read(session, "SELECT p, a, b, s, v FROM t WHERE token(p) > \(cuts[2])")
        #expect(pieces == all, "seed \(seed), cuts \(cuts)")
    }
}
