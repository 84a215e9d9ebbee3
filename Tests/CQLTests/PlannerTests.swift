import DataModel
import Primitives
import Testing

@testable import CQL

@Suite struct PlannerTests {
    /// Commands: `schema` applies each statement of the input; `plan [keyspace]` prints the plan or error of a
    /// statement; `describe [keyspace]` answers a DESCRIBE; `split` splits statements.
    @Test(arguments: ["select.txt", "modify.txt", "schema.txt", "functions.txt", "syntax.txt"]) func transcript(
        _ name: String
    ) throws {
        var schema = Schema()
        var nextID: UInt64 = 1
        try Transcript(name).run { step in
            let words = step.command.split(separator: " ").map(String.init)
            let text = step.input.joined(separator: "\n")
            let keyspace = words.count > 1 ? words[1] : "ks"
            do throws(ServerError) {
                switch words[0] {
                case "schema":
                    var answers: [String] = []
                    for statement in try StatementSplitter.split(text) {
                        guard
                            case .schema(let plan) = try Planner.plan(statement, schema: schema, keyspace: keyspace)
                                .plan
                        else {
                            return "no schema statement"
                        }
                        nextID += 1
                        let outcome = try plan.apply(to: schema, newTableID: UUID(high: 0, low: nextID))
                        schema = outcome.schema
                        let change = outcome.change
                        answers.append(
                            change.map { "\($0.kind.rawValue) \($0.target.rawValue) \($0.keyspace) \($0.name)" }
                                ?? "unchanged")
                    }
                    return answers.joined(separator: "\n")
                case "plan":
                    return PlanText.text(
                        try Planner.plan(text, schema: schema, keyspace: keyspace == "-" ? nil : keyspace))
                case "describe":
                    guard case .describe(let plan) = try Planner.plan(text, schema: schema, keyspace: keyspace).plan
                    else {
                        return "no DESCRIBE"
                    }
                    let answer = try plan.answer(
                        schema: schema, clusterName: "Test", partitioner: "Murmur3Partitioner", snitch: "SimpleSnitch")
                    return answer.rows.map { $0.joined(separator: " | ") }.joined(separator: "\n")
                case "split": return try StatementSplitter.split(text).map { "<\($0)>" }.joined(separator: "\n")
                default: return "unknown command \(words[0])"
                }
            } catch { return "\(error.code.name): \(error.message)" }
        }
    }

    /// The output of DESCRIBE recreates the same table.
    @Test func describedTablesCanBeRecreated() throws {
        var schema = Schema(keyspaces: [KeyspaceMetadata(name: "ks", replication: [:])])
        for (number, text) in [
            "CREATE TABLE a (k int PRIMARY KEY, \"V\" list<frozen<map<text, int>>>) WITH compression = {'enabled': false} AND gc_grace_seconds = 5",
            "CREATE TABLE b (a int, b text, \"select\" inet, s tuple<int, frozen<set<text>>> static, PRIMARY KEY ((a, b), \"select\")) "
                + "WITH CLUSTERING ORDER BY (\"select\" DESC) AND comment = 'it''s' AND bloom_filter_fp_chance = 0.00007 AND cdc = true "
                + "AND compaction = {'class': 'TimeWindowCompactionStrategy', 'compaction_window_unit': 'HOURS'} AND speculative_retry = 'ALWAYS'",
            "CREATE TABLE c (k text PRIMARY KEY, n counter) WITH compression = {'class': 'SnappyCompressor', 'chunk_length_in_kb': 64}",
        ].enumerated() {
            func make(_ text: String, in schema: Schema) throws -> Schema {
                guard case .schema(let plan) = try Planner.plan(text, schema: schema, keyspace: "ks").plan else {
                    return schema
                }
                return try plan.apply(to: schema, newTableID: UUID(high: 0, low: UInt64(number + 1))).schema
            }
            let made = try make(text, in: schema)
            let table = try #require(made.keyspace("ks")?.sortedTables.last)
            let again = try make(table.createStatement(includingID: true), in: schema)
            #expect(again.encode() == made.encode())
            #expect(try Schema(decoding: made.encode()).version == made.version)
            schema = made
        }
    }

    @Test func markerWithoutTypeIsRefused() throws {
        let schema = Schema(keyspaces: [KeyspaceMetadata(name: "ks", replication: [:])])
        #expect(throws: ServerError.self) { try Planner.plan("SELECT ? FROM ks.t", schema: schema, keyspace: nil) }
    }
}
