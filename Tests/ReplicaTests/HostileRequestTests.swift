import DataModel
import Messages
import Platform
import Primitives
import Replica
import Storage
import Testing

/// What another node sends is refused when it is decoded, or does no harm.
@Suite struct HostileRequestTests {
    private typealias Node = HostileNode

    private static let paxos = PaxosKey(table: HostileNode.table, partition: HostileNode.partition(1))
    private static let ballot = Ballot(timestamp: 7, node: UUID(high: 1, low: 1))

    /// Every request that carries mutations.
    private static func carriers(_ mutations: [UInt8]) -> [PeerRequest] {
        [
            .write(mutations), .hint(mutations), .repair(mutations), .count(deltas: mutations, consistency: .one),
            .propose(paxos, ballot, value: mutations), .commit(paxos, ballot, value: mutations),
            .storeBatch(LoggedBatch(key: BatchKey(created: 5, id: UUID(high: 9, low: 9)), mutations: mutations)),
            .keepHint(for: UUID(high: 5, low: 5), mutations),
        ]
    }

    private static func expectRefused(_ mutations: [UInt8], _ what: String) {
        for request in carriers(mutations) {
            #expect(throws: ByteError.self, "\(what): \(request.verb)") { try Node.request(Node.bytes(request)) }
        }
        let promise = PaxosPromise(
            isPromised: true, promised: ballot, accepted: (ballot, mutations), committed: (.none, []))
        #expect(throws: ByteError.self, "\(what): a promise") { try Node.reply(Node.bytes(.promise(promise))) }
        var other = promise
        other.accepted = nil
        other.committed = (ballot, mutations)
        #expect(throws: ByteError.self, "\(what): a promise") { try Node.reply(Node.bytes(.promise(other))) }
        // An operation without the header of its mutation, as an answer has it.
        let answer = ReadAnswer(coveredTo: nil, operations: Array(mutations.dropFirst(20)), rowCount: 0)
        for rows in 0...1 {
            var counted = answer
            counted.rowCount = rows
            #expect(throws: ByteError.self, "\(what): an answer") { try Node.reply(Node.bytes(.read(counted))) }
        }
    }

    @Test func rangeTombstonesLieInOnePartition() throws {
        let (a, b) = (Node.partition(1), Node.partition(2))
        let refused: [(String, [UInt8], [UInt8])] = [
            ("all tokens", [], KeyRange.all.end), ("a token", Array(a.prefix(8)), Array(a.prefix(8)) + [0xff]),
            ("two partitions", min(a, b) { compareBytes($0, $1) < 0 }, max(a, b) { compareBytes($0, $1) < 0 } + [0xff]),
            ("inverted", a + [0x20, 9], a + [0x20, 1]), ("empty", a + [0x20], a + [0x20]), ("nothing", [], []),
            ("a cut partition", Array(a.dropLast()), a), ("no length", Array(a.prefix(9)), a + [0xff]),
            ("an end before its partition's end", a, Array(a.dropLast())), ("no end", a, []),
            ("a partition longer than the key", a.prefix(8) + [0xff, 0xff, 1], a.prefix(8) + [0xff, 0xff, 2]),
        ]
        for (what, start, end) in refused { Self.expectRefused(Node.delete(start, end), what) }
        for range in [
            KeyRange.prefix(a), KeyRange(start: a, end: a + [0x20]),
            KeyRange(start: a + [0x20, 1], end: a + [0x20, 1, 0]),
            KeyRange(start: a + [0x20, 4, 0xff], end: a + [0xff]),
        ] {
            for request in Self.carriers(Node.delete(range.start, range.end)) {
                #expect(try Node.request(Node.bytes(request)) == request)
            }
        }
    }

    @Test func keysOfRowsAreWhole() throws {
        let a = Node.partition(1)
        let row: [UInt8] = [0]
        let refused: [(String, [UInt8])] = [
            ("no key", []), ("one byte", [1]), ("a token", Array(a.prefix(8))), ("half a length", Array(a.prefix(9))),
            ("no partition", Array(a.prefix(10))), ("a partition", a), ("an unknown kind", a + [0x30, 1]),
            ("a static row with more", a + [0x10, 1]), ("a cut partition", a.prefix(8) + [0, 200] + [1, 0x20]),
        ]
        for (what, key) in refused { Self.expectRefused(Node.raw(key, row), what) }
        for key in [a + [0x20], a + [0x10], a + [0x20, 1, 2, 3]] {
            #expect(try Node.request(Node.bytes(.write(Node.raw(key, row)))) == .write(Node.raw(key, row)))
        }
    }

    @Test func rowsAreValid() throws {
        let key = Node.key(1, 1)
        let base: [UInt8] = [1, 9, 0, 0, 0, 0, 0, 0, 0]
        let least: [UInt8] = [3, 0, 0, 0, 0, 0, 0, 0, 0x80]
        let huge: [UInt8] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]
        let refused: [(String, [UInt8])] = [
            ("empty", []), ("unknown flags", [0x80]), ("a liveness without time", [2]), ("the least time", least),
            ("a cut base", [1, 2]), ("a cut deletion", [8, 1]), ("an expiry without time", [4] + huge),
            ("a cell cut", base + [0]), ("a cell without time", [0, 0, 1, 0]),
            ("unknown cell flags", base + [0, 0x81, 0]),
            ("a value without end", base + [0, 1] + huge), ("a path without end", base + [0, 9] + huge),
            ("a length of more than 64 bits", base + [0, 1] + [UInt8](repeating: 0xff, count: 12)),
            ("a column without end", base + huge + [1, 0]), ("columns out of order", base + [2, 1, 0, 1, 1, 0]),
            ("a column twice", base + [2, 1, 0, 2, 1, 0]),
            ("paths out of order", base + [2, 9, 1, 5, 0, 2, 9, 1, 4, 0]),
            ("a path twice", base + [2, 9, 1, 5, 0, 2, 9, 1, 5, 0]),
            ("a deletion after its cells", base + [2, 1, 0, 2, 17, 0, 0, 0, 0]),
            ("a deletion with a path", base + [2, 25, 0, 0, 0, 0, 0]),
            ("half a shard", base + [0, 33, 31] + [UInt8](repeating: 0, count: 31)),
            ("a byte more than a shard", base + [0, 33, 33] + [UInt8](repeating: 0, count: 33)),
        ]
        for (what, row) in refused { Self.expectRefused(Node.raw(key, row), what) }
        // Deltas are 8 bytes on the way to a leader, shards everywhere else.
        let delta = Node.raw(key, base + [0, 33, 8] + [UInt8](repeating: 0, count: 8))
        let shard = Node.raw(key, base + [0, 33, 32] + [UInt8](repeating: 0, count: 32))
        for request in Self.carriers(delta) {
            if case .count = request {
                #expect(try Node.request(Node.bytes(request)) == request)
            } else {
                #expect(throws: ByteError.self) { try Node.request(Node.bytes(request)) }
            }
        }
        for request in Self.carriers(shard) {
            if case .count = request {
                #expect(throws: ByteError.self) { try Node.request(Node.bytes(request)) }
            } else {
                #expect(try Node.request(Node.bytes(request)) == request)
            }
        }
        // Columns that the table does not have are stored and not read.
        let node = try Node()
        let unknown = Node.raw(key, base + [0, 1, 1, 7, 0x80, 0x80, 0x80, 0x80, 0x04, 1, 1, 7])
        #expect(try node.receive(Node.bytes(.write(unknown))) == .done)
        try node.engine.compactAll(try node.store)
        #expect(try node.rows() == 1)
    }

    @Test func errorsSayWhereAndWhat() throws {
        let good = Node.put(Node.key(1, 1))
        let bad = good + Node.delete([], KeyRange.all.end)
        #expect {
            try bad.withUnsafeBytesTyped { (raw) throws(ByteError) in try MutationReader.validate(raw) }
        } throws: {
            $0 as? ByteError == .unexpected(offset: good.count + 29, expected: "a range of keys of one partition")
        }
        // An operation that reaches into the next mutation.
        var long = good + good
        long[16] -= 1
        #expect(throws: ByteError.self) {
            try long.withUnsafeBytesTyped { (raw) throws(ByteError) in try MutationReader.validate(raw) }
        }
    }

    @Test func partitionsAndBallotsOfTransactionsAreChecked() throws {
        let partition = Node.partition(1)
        for bad in [[], [1], Array(partition.prefix(9)), Array(partition.dropLast()), partition + [0x20]] {
            let key = PaxosKey(table: Node.table, partition: bad)
            for request in [
                PeerRequest.prepare(key, Self.ballot, reading: nil), .propose(key, Self.ballot, value: []),
                .commit(key, Self.ballot, value: []),
            ] {
                #expect(throws: ByteError.self, "\(bad)") { try Node.request(Node.bytes(request)) }
            }
        }
        for timestamp in [Int64.max, 4_611_686_018_427_387_905] {
            let ballot = Ballot(timestamp: timestamp, node: UUID(high: 1, low: 1))
            #expect(throws: ByteError.self) { try Node.reply(Node.bytes(.accepted(false, promised: ballot))) }
        }
        #expect(try Node.reply(Node.bytes(.accepted(false, promised: .none))) == .accepted(false, promised: .none))
    }

    /// Limits and ranges that no coordinator sends.
    @Test func strangeCommands() throws {
        let node = try Node()
        for row in 0..<20 { try node.receive(Node.bytes(.write(Node.put(Node.key(1, UInt8(row)))))) }
        let partition = Node.partition(1)
        let ranges: [KeyRange] = [
            .all, KeyRange(start: [], end: []), KeyRange(start: [0xff], end: [0]), .prefix(partition),
            KeyRange(start: partition + [0x20, 9], end: partition), KeyRange(start: [0x80], end: [0x80, 0]),
            KeyRange(start: [UInt8](repeating: 0xff, count: 40), end: [UInt8](repeating: 0xff, count: 40) + [0]),
            KeyRange(start: Array(partition.prefix(9)), end: Array(partition.prefix(9)) + [0]),
            KeyRange(start: partition.prefix(8) + [0xff, 0xff], end: partition.prefix(8) + [0xff, 0xff, 0]),
        ]
        for range in ranges {
            for reversed in [false, true] {
                for limit in [0, 1, Int.max] {
                    let command = ReadCommand(
                        table: Node.table, range: range, reversed: reversed, rowLimit: limit, byteLimit: limit,
                        gcBefore: .max, now: .max)
                    for request in [
                        PeerRequest.read(command), .digest(command),
                        .prepare(Self.paxos, Self.ballot, reading: command),
                    ] {
                        let reply = try node.receive(Node.bytes(request))
                        #expect(try Node.reply(Node.bytes(reply)) == reply)
                    }
                }
            }
        }
        let tokens: [TokenSlice] = [.min ... .max, 5...5, .max ... .max, .min ... .min, Int64.max - 1 ... .max]
        for slice in tokens {
            for depth in [0, 1, 15] {
                let command = TreeCommand(table: Node.table, tokens: slice, depth: depth, gcBefore: .max, now: .max)
                guard case .tree(let tree) = try node.receive(Node.bytes(.tree(command))) else {
                    Issue.record("no tree of \(command)")
                    continue
                }
                #expect(tree.hasShape(of: command))
                #expect(try Node.reply(Node.bytes(.tree(tree))) == .tree(tree))
            }
            let session = UUID(high: 1, low: 1)
            let slices = [slice, slice, Int64.min...Int64.max]
            try node.receive(Node.bytes(.stream(.open(session: session, table: Node.table, tokens: slices))))
            try node.receive(Node.bytes(.stream(.piece(session: session, file: 1, offset: .max))))
            try node.receive(Node.bytes(.stream(.close(session: session))))
        }
        // Depth, tokens and counts that no tree has.
        var tree = [UInt8](Node.bytes(.tree(MerkleTree(tokens: 0...0, depth: 0))))
        tree[17] = 16
        #expect(throws: ByteError.self) { try Node.reply(tree) }
        tree[17] = 1
        #expect(throws: ByteError.self) { try Node.reply(tree) }
    }

    /// The sums over what replies claim do not overflow.
    @Test func claimedCountsAreLimited() throws {
        var out = ByteWriter()
        out.write(9)
        out.writeBE(Int64.min)
        out.writeBE(Int64.max)
        out.write(UInt8(1))
        out.writeVarint(2)
        for _ in 0..<2 {
            out.writeVarint(0)
            out.writeBE(UInt64(1))
            out.writeBE(UInt64(1))
            out.writeVarint(1 << 47)
            out.writeVarint(1 << 47)
        }
        #expect(throws: ByteError.self) { try Node.reply(out.toArray()) }
        typealias File = StreamReply.StreamedFile
        for files in [[File(number: 1, bytes: .max)], [File(number: 1, bytes: 1 << 48), File(number: 2, bytes: 1)]] {
            #expect(throws: ByteError.self) { try Node.reply(Node.bytes(.stream(.files(files)))) }
        }
        let pull = StreamRequest.pull(
            session: Node.id, table: Node.table, file: 1, bytes: .max, source: UUID(high: 1, low: 1))
        #expect(throws: ByteError.self) { try Node.request(Node.bytes(.stream(pull))) }
    }

    /// Timestamps and deletion times at the ends of their ranges.
    @Test func extremeTimes() throws {
        let node = try Node()
        let times = [Int64.min, .min + 1, -1, 0, 1, .max - 1, .max]
        let locals: [UInt32] = [0, 1, .max - 1, .max]
        for (index, time) in times.enumerated() {
            for local in locals {
                let deletion = DeletionTime(timestamp: time, localDeletion: local)
                let key = Node.key(UInt8(index), UInt8(local & 3))
                let mutation = Node.mutation { out in
                    var bytes = ByteWriter()
                    bytes.write(key)
                    out.beginRow(
                        key: bytes, timestamp: time, liveness: time != .min, ttl: local, expires: local,
                        deletion: deletion)
                    out.complexDeletion(column: 1, deletion: deletion)
                    [UInt8(7)].withUnsafeBytes {
                        out.cell(column: 1, path: $0, timestamp: time, ttl: local, expires: local, value: $0)
                    }
                    out.tombstone(column: 2, deletion: deletion)
                    out.endRow()
                    out.deleteRange(.prefix(Node.partition(UInt8(index))), deletion: deletion)
                }
                #expect(try node.receive(Node.bytes(.write(mutation))) == .done)
                try node.engine.flush(try node.store)
            }
        }
        for gc in locals {
            for now in locals {
                let command = ReadCommand(table: Node.table, range: .all, rowLimit: 100, gcBefore: gc, now: now)
                let reply = try node.receive(Node.bytes(.read(command)))
                #expect(try Node.reply(Node.bytes(reply)) == reply, "\(gc) \(now)")
                try node.receive(
                    Node.bytes(
                        .tree(TreeCommand(table: Node.table, tokens: .min ... .max, depth: 4, gcBefore: gc, now: now))))
            }
        }
        try node.restart()
        #expect(node.report.rejected.isEmpty)
        try node.engine.compactAll(try node.store)
    }

    // MARK: What is on the disk already

    /// A node of an earlier release has logged a range tombstone over all tokens: it starts, and says so.
    @Test func aPoisonedLogIsSetAside() throws {
        let node = try Node()
        for name in 0..<8 { try node.receive(Node.bytes(.write(Node.put(Node.key(UInt8(name), 1))))) }
        for poison in [Node.delete([], KeyRange.all.end), Node.raw(Node.key(1, 1), [0x80]), [1, 2, 3]] {
            try poison.withUnsafeBytesTyped { (raw) throws(StorageError) in _ = try node.engine.log?.append(raw) }
        }
        for name in 8..<16 { try node.receive(Node.bytes(.write(Node.put(Node.key(UInt8(name), 1))))) }
        try node.restart()
        #expect(try node.rows() == 16)
        #expect(node.report.rejected.count == 3)
        #expect(node.failures.all.count == 3)
        let first = try #require(node.report.rejected.first)
        #expect(try node.system.readAll(first.path) == Node.delete([], KeyRange.all.end))
        #expect(first.path.hasPrefix("db/commitlog/rejected/0000000000000001-"))
        #expect(first.text.contains("a range of keys of one partition") && first.text.contains(first.segment))
        // The next start finds them again until the segment is released, and then no more.
        try node.restart()
        #expect(node.report.rejected.map(\.path).first == first.path)
        try node.engine.flushAll()
        for name in 0..<4 { try node.receive(Node.bytes(.write(Node.put(Node.key(UInt8(name), 2))))) }
        try node.engine.close()
        try node.restart()
        #expect(node.report.rejected.isEmpty)
        #expect(try node.rows() == 20)
    }

    /// An invalid mutation that is in the memtables all the same fails their flush.
    @Test func aFlushOfOverlappingTombstonesThrows() throws {
        let node = try Node()
        let bad =
            Node.delete([], KeyRange.all.end)
            + (0..<8).flatMap { Node.delete(Node.partition($0), Node.partition($0) + [0xff]) }
        try bad.withUnsafeBytesTyped { (raw) throws(StorageError) in try node.engine.apply(raw) }
        #expect(throws: StorageError.self) { try node.engine.flushAll() }
    }

    @Test func anUnreadableBatchDoesNotHideOthers() throws {
        let node = try Node()
        let good = LoggedBatch(key: BatchKey(created: 50, id: Node.id), mutations: Node.put(Node.key(1, 1)))
        #expect(try node.receive(Node.bytes(.storeBatch(good))) == .done)
        // The same row with other bytes, and batches with impossible keys.
        var cell: [UInt8] = [1, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1]
        let poison = [1] + Node.delete([], KeyRange.all.end)
        cell += [UInt8(poison.count)] + poison
        for time in [0x80, 0x00, 0x7f] as [UInt8] {
            let key = [time, 0, 0, 0, 0, 0, 0, 1, 0, 16] + Node.id.bytes + [0x20]
            #expect(try node.receive(Node.bytes(.write(Node.raw(key, cell, table: BatchLog.table)))) == .done)
        }
        for _ in 0..<2 {
            var found: [LoggedBatch] = []
            try node.service.batchLog.look(before: .max, pageBytes: 1 << 20, pageCount: 10) {
                page throws(ReplicaError) in
                found += page
                return .next
            }
            #expect(found == [good])
        }
        #expect(node.failures.all.count == 3)
    }
}

private func min(_ a: [UInt8], _ b: [UInt8], by precedes: ([UInt8], [UInt8]) -> Bool) -> [UInt8] {
    precedes(a, b) ? a : b
}
private func max(_ a: [UInt8], _ b: [UInt8], by precedes: ([UInt8], [UInt8]) -> Bool) -> [UInt8] {
    precedes(a, b) ? b : a
}
