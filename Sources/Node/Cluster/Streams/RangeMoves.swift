import Cluster
import Coordinator
import DataModel
import Messages
import Platform
import Primitives
import Query
import Synchronization

/// Copies ranges to their new owners when nodes join or leave: whole files where it can, the rest as rows.
///
/// **Thread safety**: all methods, on background threads, which they block.
struct RangeMoves: Sendable {
    let local: LocalNode
    let metadata: MetadataStore
    let liveness: Liveness
    let queries: QueryEngine
    let peers: PeerClient
    let files: FileTransfers
    let throttle: StreamThrottle
    let activity: NodeActivity
    let time: any TimeSource
    let background: any Background
    let log: OperatorLog
    let stop: StopSignal

    /// The most rows of one request while data moves.
    private static let rows = 2000
    /// The most ranges that move at once.
    static let atOnce = 4

    /// Copies to its new owners what changes hands when the change of a node is done.
    ///
    /// Rows come with their timestamps and tombstones, beside the writes that go to previous and new owners meanwhile.
    func move(for id: UUID) throws(ServerError) {
        let moves = try plan(for: id)
        activity.begin("moving \(moves.count) ranges of tables")
        defer { activity.end() }
        log.info("moving \(moves.count) ranges of tables to their new owners")
        let failure = Mutex<ServerError?>(nil)
        let bytes = Mutex((files: 0, rows: 0))
        let streams = FileStreams()
        files.move(moves, into: streams) { moved in bytes.withLock { $0.files += moved } }
        let began = time.monotonicMicroseconds()
        background.forEach(of: moves, workers: RangeMoves.atOnce) { [self] next in
            guard failure.withLock({ $0 == nil }) else { return }
            do throws(ServerError) {
                let moved = try copy(next, streams)
                let total = bytes.withLock { bytes in
                    bytes.rows += moved
                    return bytes.rows
                }
                throttle.wait(for: total, since: began)
            } catch { failure.withLock { if $0 == nil { $0 = error } } }
        }
        files.close(streams)
        if let failure = failure.withLock({ $0 }) { throw failure }
        let (files, rows) = bytes.withLock { $0 }
        log.info("moved \(moves.count) ranges of tables: \(rows) bytes of rows, \(files) bytes of files")
    }

    private func plan(for id: UUID) throws(ServerError) -> [TableMove] {
        guard let metadata = metadata.current else { return [] }
        let schema = queries.schema
        let alive = metadata.members.filter { $0.node.id == local.hostID || liveness.isAlive($0) }.map(\.node.id)
        return try MovePlan(for: id, metadata, schema, alive: Set(alive), log: log).moves
    }

    /// - Returns: bytes copied.
    private func copy(_ move: TableMove, _ streams: FileStreams) throws(ServerError) -> Int {
        var bytes = 0
        for source in move.sources where source != move.receiver {
            for slice in move.range.slices {
                let after = slice.lowerBound == .min ? Int64.min : slice.lowerBound - 1
                bytes += try copy(
                    move, from: source, KeyRange.tokens(after: after, through: slice.upperBound), streams)
            }
        }
        return bytes
    }

    private func copy(
        _ move: TableMove, from source: UUID, _ range: KeyRange, _ streams: FileStreams
    ) throws(ServerError) -> Int {
        let files = FileMove(table: move.table, source: source, receiver: move.receiver)
        var command = ReadCommand(
            table: move.table, range: range, rowLimit: RangeMoves.rows, gcBefore: 0, now: time.wallSeconds())
        var bytes = 0
        while !command.range.isEmpty {
            let answer: ReadAnswer
            let request: PeerRequest =
                streams[files].map { .stream(.rest(session: $0, command)) } ?? .read(command)
            switch try insist(request, of: source) {
            case .read(let read): answer = read
            case .failed where streams[files] != nil:
                // The source has forgotten which files it set aside: their rows are copied once more.
                streams.remove(files)
                continue
            case let other: throw ServerError(.serverError, "\(source) answered a read with \(other)")
            }
            if !answer.operations.isEmpty {
                let mutations = try RangeMoves.mutations(move.table, answer)
                bytes += mutations.count
                _ = try insist(.repair(mutations), of: move.receiver)
            }
            guard let covered = answer.coveredTo else { break }
            // Without this check the same page could be requested for ever.
            guard compareBytes(covered, command.range.start) > 0 else {
                throw ServerError(.serverError, "\(source) sent a page that ends before the requested range")
            }
            command.range.start = covered
        }
        return bytes
    }

    /// What a replica holds as mutations, one for each partition.
    private static func mutations(_ table: UUID, _ answer: ReadAnswer) throws(ServerError) -> [UInt8] {
        do throws(ByteError) { return try answer.mutations(of: table) } catch {
            throw ServerError(.serverError, "a replica's answer does not parse: \(error)")
        }
    }

    /// Asks a node until it answers; the request may be executed twice.
    private func insist(_ request: PeerRequest, of node: UUID) throws(ServerError) -> PeerReply {
        var last = ""
        for attempt in 0..<10 {
            guard !stop.isSet, let endpoint = metadata.endpoint(of: node) else { break }
            switch peers.ask(request, at: endpoint, wanted: node, timeout: 10_000_000) {
            case .failed(let reason, let text):
                last = text
                // Nothing of a table that was dropped meanwhile has to move.
                if reason == .unknownTable, queries.schema.tables[RangeMoves.table(of: request)] == nil {
                    return .done
                }
                if case .stream = request, reason == .storage { return .failed(reason, text) }
            case let reply: return reply
            }
            background.sleep(nanoseconds: 200_000_000 << UInt64(min(attempt, 4)))
        }
        throw ServerError(.serverError, "\(node) does not answer while data moves: \(last)")
    }

    private static func table(of request: PeerRequest) -> UUID {
        switch request {
        case .read(let command), .stream(.rest(_, let command)): command.table
        default: UUID(high: 0, low: 0)
        }
    }
}
