import DataModel
import Messages
import ModelReplica
import Primitives
import Testing
import VirtualCluster

@testable import Coordinator

/// Random rows and tombstones on several replicas, each of which has only some of the mutations.
@Suite struct ReconcilerTests {
    private static let now = UInt32(VirtualTime.epoch / 1_000_000)

    private static func key(_ index: Int) -> [UInt8] { Sample.key(token: 5, UInt8(index / 8), [UInt8(index % 8)]) }

    /// Returns a random change: an upsert of cells, a cell or complex tombstone, a row deletion, or a range tombstone.
    /// Later changes have equal or later timestamps.
    private static func mutation(_ random: inout SeededRandom, step: Int) -> [UInt8] {
        // Two successive changes share a timestamp, except with an expiring cell: such a tie depends on whether it has
        // expired.
        let ttl: UInt32 = random.next() % 4 == 0 ? 10 : 0
        let timestamp = ttl > 0 ? Int64(2 * step + 1) : Int64(step / 2 * 4)
        let local = now - 1000 + UInt32(step / 2)
        let deletion = DeletionTime(timestamp: timestamp, localDeletion: local)
        let index = Int(random.next() % 24)
        var out = MutationWriter()
        out.beginTable(VirtualCluster.table)
        switch random.next() % 10 {
        case 0:
            let end = index + Int(random.next() % 6)
            let last = min(end, index / 8 * 8 + 7)
            out.deleteRange(KeyRange(start: key(index), end: key(last) + [0]), deletion: deletion)
        case 1:
            out.beginRow(key: Sample.writer(key(index)), timestamp: .min, liveness: false, deletion: deletion)
            out.endRow()
        default:
            // Some cells have expired, some have not.
            let expires = ttl == 0 ? UInt32.max : now - 5 + UInt32(random.next() % 10)
            out.beginRow(
                key: Sample.writer(key(index)), timestamp: timestamp, liveness: random.next() % 2 == 0, ttl: ttl,
                expires: expires)
            for column in 0..<3 where random.next() % 2 == 0 {
                let value = [UInt8(random.next() % 3)]
                if random.next() % 4 == 0 {
                    out.tombstone(column: column, deletion: deletion)
                } else {
                    value.withUnsafeBytes {
                        out.cell(column: column, timestamp: timestamp, ttl: ttl, expires: expires, value: $0)
                    }
                }
            }
            if random.next() % 5 == 0 { out.complexDeletion(column: 5, deletion: deletion) }
            if random.next() % 3 == 0 {
                let path = [UInt8(random.next() % 3)]
                path.withUnsafeBytes { path in
                    if random.next() % 3 == 0 {
                        out.tombstone(column: 5, path: path, deletion: deletion)
                    } else {
                        out.cell(column: 5, path: path, timestamp: timestamp + 1, value: path)
                    }
                }
            }
            out.endRow()
        }
        out.endTable()
        return out.out.toArray()
    }

    /// Returns an answer's contents in a canonical form: equal rows give equal texts.
    static func meaning(_ answer: ReadAnswer) -> [String] {
        answer.operations.withUnsafeBytes { bytes in
            var reader = ByteReader(bytes)
            var lines: [String] = []
            while let operation = try? MutationReader.operation(from: &reader) {
                switch operation {
                case .row(let key, let row): lines.append("\([UInt8](key)) \(meaning(RowView(row)))")
                case .deleteRange(let start, let end, let deletion):
                    lines.append("\([UInt8](start)) \([UInt8](end)) \(deletion)")
                }
            }
            return lines
        }
    }

    private static func meaning(_ row: RowView) -> String {
        var text = "live \(row.livenessTimestamp) \(row.livenessTTL) \(row.livenessExpires) deleted \(row.deletion)"
        var cursor = row.cells
        while cursor.advance() {
            text +=
                " [\(cursor.column) \(cursor.flags.subtracting(.sameTimestamp)) \(cursor.timestamp) \(cursor.ttl) \(cursor.localDeletion) "
            text += "\([UInt8](cursor.path)) \([UInt8](cursor.value))]"
        }
        return text
    }

    private static func repair(_ operations: [UInt8]) -> [UInt8] {
        var out = MutationWriter()
        out.beginTable(VirtualCluster.table)
        out.out.write(operations)
        out.endTable()
        return out.out.toArray()
    }

    @Test(arguments: 0..<600) func reconciliationMatchesTheModel(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let count = 2 + Int(random.next() % 4)
        var replicas = [ModelReplica](repeating: ModelReplica(), count: count)
        var model = ModelReplica()
        let steps = Int(random.next() % 60)
        // Replicas leave older tombstones out of their answers, because everyone has them.
        let gcBefore = random.next() % 3 == 0 ? Self.now - 1000 + UInt32(random.next() % 30) : 0
        for step in 0..<steps {
            let mutation = Self.mutation(&random, step: step)
            model.apply(mutation)
            let isOld = Self.now - 1000 + UInt32(step / 2) < gcBefore
            for index in replicas.indices where isOld || random.next() % 3 != 0 { replicas[index].apply(mutation) }
            // At least one replica has every change that the model has.
            replicas[Int(random.next() % UInt64(count))].apply(mutation)
        }
        var command = Sample.command(
            random.next() % 3 == 0
                ? KeyRange(start: Self.key(Int(random.next() % 12)), end: Self.key(12 + Int(random.next() % 12)))
                : .all,
            rows: 1 + Int(random.next() % 12), reversed: random.next() % 2 == 0)
        command.gcBefore = gcBefore
        while !command.range.isEmpty {
            let answers = replicas.map { $0.answer(command) }
            let outcome = try Reconciler().reconcile(answers, of: command)
            var covered = command
            covered.range = outcome.answer.covered(of: command)
            covered.rowLimit = .max
            let expected = model.answer(covered)
            #expect(Self.meaning(outcome.answer) == Self.meaning(expected), "seed \(seed)")
            for index in replicas.indices where !outcome.lacking[index].isEmpty {
                #expect(
                    Self.meaning(answers[index]) != Self.meaning(outcome.answer), "seed \(seed): a repair of nothing")
                replicas[index].apply(Self.repair(outcome.lacking[index]))
            }
            let healed = replicas.map { $0.answer(covered) }
            #expect(Set(healed.map(Self.meaning)).count == 1, "seed \(seed): not the same after the repair")
            #expect(Set(healed.map(\.digest)).count == 1, "seed \(seed): other digests of the same")
            let again = try Reconciler().reconcile(healed, of: covered)
            #expect(again.lacking.allSatisfy { $0.isEmpty }, "seed \(seed): repaired twice")
            guard let coveredTo = outcome.answer.coveredTo else { break }
            let before = command.range
            if command.reversed { command.range.end = coveredTo } else { command.range.start = coveredTo }
            try #require(command.range != before, "seed \(seed): no progress")
        }
    }

    @Test func otherEncodingOfTheSameRowIsNotRepaired() throws {
        let key = Self.key(1)
        // One replica encodes the timestamp in the row, the other in the cell.
        func replica(base: Int64) -> ModelReplica {
            var mutation = MutationWriter()
            mutation.beginTable(VirtualCluster.table)
            mutation.beginRow(key: Sample.writer(key), timestamp: base, liveness: false)
            [UInt8(1)].withUnsafeBytes { mutation.cell(column: 0, timestamp: 7, value: $0) }
            mutation.endRow()
            mutation.endTable()
            var replica = ModelReplica()
            replica.apply(mutation.out.toArray())
            return replica
        }
        let command = Sample.one(key)
        for bases in [[7, 9], [9, 7], [7, 3, 9], [3, 7]] as [[Int64]] {
            let outcome = try Reconciler().reconcile(bases.map { replica(base: $0).answer(command) }, of: command)
            #expect(outcome.lacking.allSatisfy { $0.isEmpty }, "\(bases)")
        }
    }

    @Test func rowUnderNewerRangeTombstoneIsNotSent() throws {
        let key = Self.key(1)
        var one = ModelReplica()
        var other = ModelReplica()
        one.apply(Sample.put(key, 1, at: 5))
        other.apply(Sample.deleteRange(key, key + [9], at: 9, local: Self.now))
        let command = Sample.one(key)
        let outcome = try Reconciler().reconcile([one.answer(command), other.answer(command)], of: command)
        #expect(outcome.answer.rowCount == 0)
        #expect(outcome.lacking[1].isEmpty)
        one.apply(Self.repair(outcome.lacking[0]))
        #expect(one.answer(command).digest == other.answer(command).digest)
    }

    @Test func rowPartlyUnderRangeTombstoneIsNotSent() throws {
        let key = Self.key(1)
        var one = ModelReplica()
        var other = ModelReplica()
        for timestamp in [5, 15] as [Int64] {
            one.apply(Sample.put(key, timestamp, at: timestamp))
            other.apply(Sample.put(key, timestamp, at: timestamp))
        }
        var mutation = MutationWriter()
        mutation.beginTable(VirtualCluster.table)
        mutation.beginRow(key: Sample.writer(key), timestamp: 6, liveness: false)
        [UInt8(1)].withUnsafeBytes { mutation.cell(column: 3, timestamp: 6, value: $0) }
        mutation.endRow()
        mutation.endTable()
        one.apply(mutation.out.toArray())
        other.apply(mutation.out.toArray())
        other.apply(Sample.deleteRange(key, key + [9], at: 9, local: Self.now))
        let command = Sample.one(key)
        let outcome = try Reconciler().reconcile([one.answer(command), other.answer(command)], of: command)
        // The first replica lacks only the tombstone.
        #expect(outcome.lacking[0].first == 2)
        #expect(outcome.lacking[1].isEmpty)
        one.apply(Self.repair(outcome.lacking[0]))
        #expect(one.answer(command).digest == other.answer(command).digest)
    }
}
