import DataModel
import Messages
import Primitives
import Testing

@testable import Query

/// Reads that take long: for clients that have gone, and from a disk.
@Suite struct WaitingReadTests {
    private static func session(rows: Int) throws -> Session {
        let session = try EngineTests.session()
        _ = try session.execute("CREATE TABLE t (p int, c int, v int, PRIMARY KEY (p, c))")
        for row in 0..<rows {
            _ = try session.execute("INSERT INTO t (p, c, v) VALUES (\(row % 4), \(row), \(row))")
        }
        return session
    }

    @Test func readForAClientThatHasGoneEnds() throws {
        let session = try Self.session(rows: 600)
        let client = ClientPresence()
        session.client = client
        let reads = [
            "SELECT count(*) FROM t", "SELECT * FROM t", "SELECT max(v) FROM t WHERE v > 0 ALLOW FILTERING",
            "SELECT * FROM t WHERE p IN (0, 1, 2, 3) AND c IN (1, 2, 3, 4, 5, 6, 7, 8)",
        ]
        for read in reads { _ = try session.execute(read) }
        client.leave()
        for read in reads { #expect(throws: ServerError.self, "\(read)") { try session.execute(read) } }
        // A write that has begun is made, whoever waits for it.
        _ = try session.execute("INSERT INTO t (p, c, v) VALUES (9, 9, 9)")
        session.client = nil
        #expect(try EngineTests.rows(session.execute("SELECT v FROM t WHERE p = 9 AND c = 9")) == [["9"]])
    }

    /// Once a partition of an IN had to wait for the disk, the next ones are read together.
    @Test func partitionsOfAnInAreReadAheadFromDisk() throws {
        let session = try Self.session(rows: 40)
        let read = "SELECT v FROM t WHERE p IN (0, 1, 2, 3)"
        _ = try session.execute(read)
        #expect(session.replica.announcedRanges.isEmpty)
        session.replica.isOnDisk.store(true, ordering: .relaxed)
        let answer = try session.execute(read)
        #expect(try EngineTests.rows(answer).count == 40)
        #expect(session.replica.announcedRanges.count == 3)
    }
}
