import DataModel
import Messages
import Primitives
import Replica
import Storage
import Testing

/// Whole sstables and rows are streamed between real engines: the receiver holds what the source held.
@Suite struct StreamTests {
    private static let session = UUID(high: 7, low: 7)
    private static let all: TokenSlice = Int64.min...Int64.max

    private static func open(_ node: LocalTreeTests.Node, _ tokens: [TokenSlice]) throws -> [StreamReply.StreamedFile] {
        let reply = node.service.execute(
            .stream(.open(session: session, table: LocalTreeTests.table, tokens: tokens))
        ).reply
        guard case .stream(.files(let files)) = reply else {
            Issue.record("\(reply)")
            return []
        }
        return files
    }

    /// Fetches a file; `change` may damage its pieces.
    private static func pull(
        _ file: StreamReply.StreamedFile, from source: LocalTreeTests.Node, to receiver: LocalTreeTests.Node,
        change: (inout [UInt8]) -> Void = { _ in }
    ) throws {
        let table = try #require(receiver.engine.table(LocalTreeTests.table))
        let incoming = try IncomingSSTable(engine: receiver.engine, table: table)
        while incoming.count < file.bytes {
            let reply = try source.service.execute(
                .stream(.piece(session: session, file: file.number, offset: incoming.count))
            ).reply
            guard case .stream(.piece(var piece)) = reply else { throw ReplicaError.storage("\(reply)") }
            change(&piece)
            try incoming.append(piece)
        }
        _ = try incoming.finish()
    }

    private static func moveRest(from source: LocalTreeTests.Node, to receiver: LocalTreeTests.Node) throws -> Int {
        var command = ReadCommand(
            table: LocalTreeTests.table, range: .all, rowLimit: 7, gcBefore: 0, now: LocalTreeTests.now)
        var rows = 0
        while true {
            let reply = try source.service.execute(.stream(.rest(session: session, command))).reply
            guard case .read(let answer) = reply else { throw ReplicaError.storage("\(reply)") }
            rows += answer.rowCount
            try receiver.apply(answer.mutations(of: LocalTreeTests.table))
            guard let covered = answer.coveredTo else { return rows }
            command.range.start = covered
        }
    }

    @Test(arguments: 0..<8) func receiverGetsAllDataOfTheSource(seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed))
        let source = try LocalTreeTests.Node(0)
        let receiver = try LocalTreeTests.Node(1)
        for step in 0..<400 {
            try source.apply(LocalTreeTests.mutation(&random, step: step))
            if random.next() % 100 == 0 { try source.flush() }
        }
        let files = try Self.open(source, [Int64.min...0, 1...Int64.max])
        #expect(!files.isEmpty, "the stretches touch each other: all files move")
        // Meanwhile writes, flushes and compactions, which remove the source's files.
        for step in 400..<440 { try source.apply(LocalTreeTests.mutation(&random, step: step)) }
        if Bool.random(using: &random) { try source.flush() }
        for file in files {
            try Self.pull(file, from: source, to: receiver)
            if random.next() % 2 == 0, let table = source.engine.table(LocalTreeTests.table) {
                try source.engine.compactAll(table)
            }
        }
        _ = try Self.moveRest(from: source, to: receiver)
        #expect(try receiver.tree().differences(from: source.tree()).isEmpty)
        #expect(source.service.execute(.stream(.close(session: Self.session))).reply == .done)
        guard
            case .failed = source.service.execute(.stream(.piece(session: Self.session, file: 1, offset: 0))).reply
        else {
            Issue.record("a closed session answers")
            return
        }
    }

    @Test func onlyFilesWithinTheTokensAreStreamed() throws {
        var random = SeededRandom(seed: 1)
        let source = try LocalTreeTests.Node(0)
        for step in 0..<200 { try source.apply(LocalTreeTests.mutation(&random, step: step)) }
        try source.flush()
        #expect(try Self.open(source, [Int64.min...0]).isEmpty)
        #expect(try Self.open(source, [Int64.min...0, 2...Int64.max]).isEmpty, "a token between them is not given")
        #expect(try Self.open(source, []).isEmpty)
        let receiver = try LocalTreeTests.Node(1)
        #expect(try Self.moveRest(from: source, to: receiver) > 0)
        #expect(try receiver.tree().differences(from: source.tree()).isEmpty)
    }

    @Test func damagedTransferIsDetectedAndLeavesNoFiles() throws {
        var random = SeededRandom(seed: 2)
        let source = try LocalTreeTests.Node(0)
        let receiver = try LocalTreeTests.Node(1)
        for step in 0..<200 { try source.apply(LocalTreeTests.mutation(&random, step: step)) }
        let file = try #require(try Self.open(source, [Self.all]).first)
        for _ in 0..<16 {
            let place = Int(random.next() % UInt64(file.bytes))
            #expect(throws: StorageError.self) {
                try Self.pull(file, from: source, to: receiver) { piece in
                    if place < piece.count { piece[place] ^= 1 << UInt8(place % 8) }
                }
            }
        }
        let table = try #require(receiver.engine.table(LocalTreeTests.table))
        #expect(table.tables.isEmpty)
        try Self.pull(file, from: source, to: receiver)
        #expect(try receiver.tree().differences(from: source.tree()).isEmpty)
    }

    @Test func requestsRoundTrip() throws {
        let requests: [StreamRequest] = [
            .open(session: Self.session, table: LocalTreeTests.table, tokens: [Int64.min...5, 7...9]),
            .piece(session: Self.session, file: 3, offset: 1 << 40), .close(session: Self.session),
            .rest(
                session: Self.session,
                ReadCommand(table: LocalTreeTests.table, range: .all, rowLimit: 3, gcBefore: 1, now: 2)),
            .pull(
                session: Self.session, table: LocalTreeTests.table, file: 9, bytes: 1 << 33,
                source: UUID(high: 1, low: 1)),
        ]
        for request in requests {
            var out = ByteWriter()
            PeerRequest.stream(request).encode(into: &out)
            let bytes = out.toArray()
            #expect(
                try bytes.withReader { (reader) throws(ByteError) in try PeerRequest(from: &reader) }
                    == .stream(request))
            for count in 0..<bytes.count {
                #expect(throws: ByteError.self) {
                    try [UInt8](bytes[..<count]).withReader { (reader) throws(ByteError) in
                        try PeerRequest(from: &reader)
                    }
                }
            }
        }
        for reply: StreamReply in [
            .files([.init(number: 1, bytes: 5)]), .files([]), .piece([1, 2]), .piece([]), .pulled(rows: 7),
        ] {
            var out = ByteWriter()
            PeerReply.stream(reply).encode(into: &out)
            let bytes = out.toArray()
            #expect(
                try bytes.withReader { (reader) throws(ByteError) in try PeerReply(from: &reader) } == .stream(reply))
        }
    }
}
