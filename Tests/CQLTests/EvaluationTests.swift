import DataModel
import Primitives
import Testing

@testable import CQL

@Suite struct EvaluationTests {
    private func schema() throws -> Schema {
        var schema = Schema(keyspaces: [KeyspaceMetadata(name: "ks", replication: [:])])
        let text =
            "CREATE TABLE t (k int PRIMARY KEY, v text, l list<int>, s set<int>, m map<text, int>, tu tuple<int, text>)"
        guard case .schema(let plan) = try Planner.plan(text, schema: schema, keyspace: "ks").plan else {
            return schema
        }
        schema = try plan.apply(to: schema, newTableID: UUID(high: 0, low: 1)).schema
        return schema
    }

    private func context() -> EvaluationContext {
        EvaluationContext(
            nowMicroseconds: 1_577_836_800_123_456, identifiers: IdentifierSource(seed: 1, clockSequenceAndNode: 7))
    }

    private func operations(_ text: String) throws -> [String: Term] {
        guard case .modification(let plan) = try Planner.plan(text, schema: try schema(), keyspace: "ks").plan else {
            return [:]
        }
        return Dictionary(
            uniqueKeysWithValues: plan.operations.compactMap { operation in
                if case .set(let term) = operation.action { (operation.column.name, term) } else { nil }
            })
    }

    private func evaluate(_ term: Term?, _ values: ValueList) throws -> (ValuePresence, [UInt8]) {
        var context = context()
        var writer = ByteWriter()
        let presence = try #require(term).evaluate(values, &context, into: &writer)
        return (presence, writer.toArray())
    }

    @Test func nullUnsetAndEmptyDiffer() throws {
        let term = try operations("INSERT INTO t (k, v) VALUES (1, ?)")["v"]
        var values = ValueList()
        values.appendNull()
        #expect(try evaluate(term, values) == (.null, []))
        values.removeAll()
        values.appendUnset()
        #expect(try evaluate(term, values) == (.unset, []))
        values.removeAll()
        values.append([])
        #expect(try evaluate(term, values) == (.value, []))
        values.removeAll()
        values.append(Array("x".utf8))
        #expect(try evaluate(term, values) == (.value, Array("x".utf8)))
    }

    @Test func boundValuesAreValidated() throws {
        let operations = try operations("INSERT INTO t (k, v, l) VALUES (1, ?, ?)")
        var values = ValueList()
        values.append([0xff])
        values.append([0, 0, 0, 1, 0, 0, 0, 1, 9])
        #expect(throws: ServerError.invalid("String didn't validate.")) { try evaluate(operations["v"], values) }
        #expect(throws: ServerError.invalid("Expected 4 or 0 byte int (1)")) { try evaluate(operations["l"], values) }
        #expect(throws: ServerError.self) { try evaluate(operations["l"], ValueList()) }
    }

    @Test func markersInsideCollections() throws {
        let operations = try operations("INSERT INTO t (k, s, m, tu) VALUES (1, {?, 1, 5}, {'a': ?}, (?, null))")
        var values = ValueList()
        values.append(CQLType.bigEndian(Int32(5)))
        values.append(CQLType.bigEndian(Int32(7)))
        values.append(CQLType.bigEndian(Int32(9)))
        let set = try evaluate(operations["s"], values).1
        #expect(CQLType.set(.int).text(set, style: .literal) == "{1, 5}")
        #expect(CQLType.map(.text, .int).text(try evaluate(operations["m"], values).1, style: .literal) == "{'a': 7}")
        #expect(
            CQLType.tuple([.int, .text]).text(try evaluate(operations["tu"], values).1, style: .literal) == "(9, null)")
        values.removeAll()
        for _ in 0..<3 { values.appendNull() }
        #expect(throws: ServerError.invalid("null is not supported inside collections")) {
            try evaluate(operations["s"], values)
        }
    }

    @Test func boundJSONIsParsedAtExecution() throws {
        let operations = try operations("INSERT INTO t JSON ? DEFAULT UNSET")
        var values = ValueList()
        values.append(Array(#"{"k": 1, "v": null, "l": [1, "2"], "M": {"a": 5}}"#.utf8))
        #expect(try evaluate(operations["v"], values).0 == .null)
        #expect(try evaluate(operations["s"], values).0 == .unset)
        #expect(CQLType.list(.int).text(try evaluate(operations["l"], values).1, style: .literal) == "[1, 2]")
        #expect(CQLType.map(.text, .int).text(try evaluate(operations["m"], values).1, style: .literal) == "{'a': 5}")
        values.removeAll()
        values.append(Array(#"{"k": 1, "nope": 2}"#.utf8))
        #expect(throws: ServerError.invalid("JSON values map contains unrecognized column: nope")) {
            try evaluate(operations["v"], values)
        }
    }

    @Test func timeUUIDsIncreaseAndContainTheTime() throws {
        let context = context()
        let ids = (0..<100).map { _ in context.nextTimeUUID() }
        #expect(zip(ids, ids.dropFirst()).allSatisfy { CQLType.timeuuid.compare($0.bytes, $1.bytes) < 0 })
        #expect(TimeConversion.milliseconds(ids[0].bytes, of: .timeuuid) == 1_577_836_800_123)
        #expect(ids[0].version == 1 && context.randomUUID().version == 4)
    }

    @Test func aggregates() throws {
        func result(_ operation: AggregateFunction.Operation, _ type: CQLType, _ texts: [String?]) throws -> String {
            let returnType: CQLType = operation == .count ? .bigint : type
            var state = AggregateState(
                AggregateFunction(name: "", operation: operation, argumentType: type, returnType: returnType))
            for text in texts {
                if let text {
                    try type.bytes(fromScalarText: text).withUnsafeBytes { bytes in try state.add(bytes) }
                } else {
                    try state.add(nil)
                }
            }
            return returnType.text(try state.result(), style: .literal)
        }
        #expect(try result(.sum, .int, ["1", nil, "2"]) == "3")
        #expect(try result(.sum, .int, ["2147483647", "1"]) == "-2147483648")
        #expect(try result(.average, .int, ["1", "2"]) == "1")
        #expect(try result(.average, .bigint, ["9223372036854775807", "9223372036854775807"]) == "9223372036854775807")
        #expect(try result(.average, .double, ["1", "2"]) == "1.5")
        #expect(try result(.average, .decimal, ["1.0", "2.05"]) == "1.52")
        #expect(try result(.sum, .varint, ["100000000000000000000", "1"]) == "100000000000000000001")
        #expect(try result(.min, .text, ["b", "a", nil]) == "'a'")
        #expect(try result(.max, .int, []) == "null")
        #expect(try result(.average, .int, []) == "0")
        #expect(try result(.count, .int, ["1", nil]) == "1")
    }
}
