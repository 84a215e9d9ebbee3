import Cluster
import Coordinator
import DataModel
import Messages
import Platform
import Primitives
import Replica
import Synchronization

/// A stretch of one table that a node is to hold, and the nodes that have it.
struct TableMove: Sendable {
    let table: UUID
    let range: TokenRange
    let receiver: UUID
    /// Each has something the receiver needs.
    let sources: [UUID]
}

extension ClusterService {
    /// Rows of a request while data moves.
    static let moveRows = 2000
    /// Stretches that move at once.
    static let movesAtOnce = 4

    /// Copies to its new owners what changes hands when the change of `id` is done; on a background thread.
    ///
    /// Rows are read from those who lose a stretch, so that a new owner holds what they held, whatever its level of consistency; where one of them is
    /// dead, from all others, if what was acknowledged at QUORUM must be on one of them. They come with their timestamps and tombstones, beside the writes that go to old and new owners meanwhile.
    func move(for id: UUID) throws(ServerError) {
        let moves = try plannedMoves(for: id)
        activity.withLock { $0 = "moving \(moves.count) stretches" }
        defer { activity.withLock { $0 = "" } }
        log.info("\(moves.count) stretches change hands")
        let failure = Mutex<ServerError?>(nil)
        let bytes = Mutex((files: 0, rows: 0))
        let streams = FileStreams()
        moveFiles(moves, into: streams) { moved in bytes.withLock { $0.files += moved } }
        let began = now
        inParallel(moves) { [self] next in
            guard failure.withLock({ $0 == nil }) else { return }
            do throws(ServerError) {
                let moved = try move(next, streams)
                let total = bytes.withLock { bytes in
                    bytes.rows += moved
                    return bytes.rows
                }
                throttle(total, since: began)
            } catch { failure.withLock { if $0 == nil { $0 = error } } }
        }
        close(streams)
        if let failure = failure.withLock({ $0 }) { throw failure }
        let (files, rows) = bytes.withLock { $0 }
        log.info("\(moves.count) stretches with \(rows) bytes of rows and \(files) bytes of files have changed hands")
    }

    /// Workers of the pool take items until there are none; this thread waits for them.
    func inParallel<Item: Sendable>(_ items: [Item], _ work: @escaping @Sendable (Item) -> Void) {
        let queue = Mutex(items[...])
        let workers = min(ClusterService.movesAtOnce, items.count)
        if workers == 0 { return }
        let running = Mutex(workers)
        background.wait { resume in
            for _ in 0..<workers {
                background.run(.control) {
                    while let next = queue.withLock({ $0.popFirst() }) { work(next) }
                    let isLast = running.withLock { running in
                        running -= 1
                        return running == 0
                    }
                    if isLast { resume() }
                }
            }
        }
    }

    /// Lets the calling thread wait until so many bytes may have moved.
    func throttle(_ bytes: Int, since began: Int64) {
        guard configuration.streamThroughputOutbound > 0 else { return }
        let due = Int64(Double(bytes) / Double(configuration.streamThroughputOutbound) * 1_000_000)
        let ahead = due - (now - began)
        if ahead > 1000 { background.sleep(nanoseconds: UInt64(min(ahead, 5_000_000)) * 1000) }
    }

    private func plannedMoves(for id: UUID) throws(ServerError) -> [TableMove] {
        guard let metadata = metadata.current, let schema = queries?.schema else { return [] }
        let before = metadata.ring
        let after = before.after { $0.id == id }
        var moves: [TableMove] = []
        let departing = Set(before.nodes.map(\.id)).subtracting(after.nodes.filter { $0.state != .left }.map(\.id))
        let alive = Set(
            metadata.members.filter { member in
                member.node.id == hostID || gossip.withLock { $0?.isAlive(member) ?? false }
            }.map(\.node.id))
        for keyspace in schema.sortedKeyspaces where !keyspace.isVirtual && !Schema.isSystem(keyspace.name) {
            let strategy: ReplicationStrategy
            do throws(PlacementError) {
                strategy = try ReplicationStrategy(options: keyspace.replication, dataCenters: after.dataCenters)
            } catch { continue }
            if case .local = strategy { continue }
            let old = ReplicaTable(ring: before, strategy: strategy)
            let new = ReplicaTable(ring: after, strategy: strategy)
            for transfer in old.transfers(to: new) {
                let owners = new.replicaIDs(for: transfer.range.through)
                let losing = transfer.sources.filter { !owners.contains($0) }
                let sources = try self.sources(of: transfer, losing: losing, alive: alive, departing: departing, keyspace: keyspace.name)
                if sources.isEmpty { continue }
                for table in keyspace.sortedTables {
                    moves.append(TableMove(table: table.id, range: transfer.range, receiver: transfer.receiver, sources: sources))
                }
                moves.append(TableMove(table: PaxosAcceptor.table, range: transfer.range, receiver: transfer.receiver, sources: sources))
            }
        }
        return moves
    }

    private func sources(
        of transfer: RangeTransfer, losing: [UUID], alive: Set<UUID>, departing: Set<UUID>, keyspace: String
    ) throws(ServerError) -> [UUID] {
        if !losing.isEmpty && losing.allSatisfy(alive.contains) { return losing }
        let living = transfer.sources.filter(alive.contains)
        // What a majority has acknowledged is on one of the living, as long as fewer than a majority are dead.
        let dead = transfer.sources.filter { !alive.contains($0) }
        let isCovered = dead.count < transfer.sources.count / 2 + 1
        if !isCovered, let lost = dead.first(where: { !departing.contains($0) }) {
            throw ServerError(
                .unavailable,
                "\(lost) is down, and what it alone may hold would be lost when it gives up a range; bring it back or remove it, then try again"
            )
        }
        if living.isEmpty {
            tell("keyspace \(keyspace): no replica of a range that changes hands lives; its rows are lost", level: .error)
        } else if !dead.allSatisfy(departing.contains) {
            tell(
                "keyspace \(keyspace): a replica of ranges that change hands is down; what was written at less than QUORUM may be on it alone: "
                    + "bring it back and run auspex admin repair")
        }
        return living
    }

    /// - Returns: bytes moved.
    private func move(_ move: TableMove, _ streams: FileStreams) throws(ServerError) -> Int {
        var bytes = 0
        for source in move.sources where source != move.receiver {
            for slice in move.range.slices {
                let after = slice.lowerBound == .min ? Int64.min : slice.lowerBound - 1
                bytes += try copy(move, from: source, KeyRange.tokens(after: after, through: slice.upperBound), streams)
            }
        }
        return bytes
    }

    private func copy(_ move: TableMove, from source: UUID, _ range: KeyRange, _ streams: FileStreams) throws(ServerError) -> Int {
        let files = FileMove(table: move.table, source: source, receiver: move.receiver)
        var command = ReadCommand(
            table: move.table, range: range, rowLimit: ClusterService.moveRows, gcBefore: 0, now: time.wallSeconds())
        var bytes = 0
        while !command.range.isEmpty {
            let answer: ReadAnswer
            let request: PeerRequest = streams[files].map { .stream(.rest(session: $0, command)) } ?? .read(command)
            switch try insist(request, of: source) {
            case .read(let read): answer = read
            case .failed where streams[files] != nil:
                // The source has forgotten what it set aside: rows of files that have arrived come once more.
                streams.remove(files)
                continue
            case let other: throw ServerError(.serverError, "\(source) answered a read with \(other)")
            }
            if !answer.operations.isEmpty {
                let mutations = try ClusterService.mutations(move.table, answer)
                bytes += mutations.count
                _ = try insist(.repair(mutations), of: move.receiver)
            }
            guard let covered = answer.coveredTo else { break }
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

    /// Asks a node until it answers; what is asked may be carried out twice.
    private func insist(_ request: PeerRequest, of node: UUID) throws(ServerError) -> PeerReply {
        var last = ""
        for attempt in 0..<10 {
            guard !hasStopped, let endpoint = endpoint(of: node) else { break }
            switch ask(request, at: endpoint, wanted: node, timeout: 10_000_000) {
            case .failed(let reason, let text):
                last = text
                // A table that was dropped meanwhile is not missed.
                if reason == .unknownTable, queries?.schema.tables[ClusterService.table(of: request)] == nil { return .done }
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
