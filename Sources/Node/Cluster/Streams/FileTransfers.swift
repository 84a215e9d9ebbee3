import Cluster
import DataModel
import Messages
import Platform
import Primitives
import Replica
import Storage
import Synchronization

/// The files of one table that one node gives to another.
struct FileMove: Sendable, Hashable {
    let table: UUID
    let source: UUID
    let receiver: UUID
}

/// The sessions whose files have all arrived, by move: the source has set those files aside, and only the rest of the
/// table is read as rows.
///
/// **Thread safety**: all methods, from any thread.
final class FileStreams: Sendable {
    private let sessions = Mutex<[FileMove: UUID]>([:])

    subscript(move: FileMove) -> UUID? { sessions.withLock { $0[move] } }

    func add(_ session: UUID, for move: FileMove) { sessions.withLock { $0[move] = session } }

    /// Forgets a session: all rows of its move are read.
    func remove(_ move: FileMove) { sessions.withLock { $0[move] = nil } }

    var all: [(move: FileMove, session: UUID)] {
        sessions.withLock { $0.map { ($0.key, $0.value) } }.sorted { $0.1 < $1.1 }
    }
}

/// Moves whole sstables between nodes: has receivers fetch them, and fetches those that come to this node.
///
/// **Thread safety**: all methods, from any thread; those that do not take `done` block a background thread.
final class FileTransfers: Sendable {
    private let local: LocalNode
    private let metadata: MetadataStore
    private let storage: StorageEngine
    private let peers: PeerClient
    private let throttle: StreamThrottle
    private let network: any Network
    private let background: any Background
    private let time: any TimeSource
    private let log: OperatorLog
    private let stop: StopSignal
    private let isEnabled: Bool
    /// Sessions begun here.
    private let sessionCount = Atomic<UInt64>(0)

    /// The pace in bytes a second below which a file is given up.
    private static let slowestPull = 256 << 10

    init(
        configuration: NodeConfiguration, local: LocalNode, metadata: MetadataStore, storage: StorageEngine,
        peers: PeerClient, throttle: StreamThrottle, network: any Network, background: any Background,
        time: any TimeSource, log: OperatorLog, stop: StopSignal
    ) {
        self.local = local
        self.metadata = metadata
        self.storage = storage
        self.peers = peers
        self.throttle = throttle
        self.network = network
        self.background = background
        self.time = time
        self.log = log
        self.stop = stop
        isEnabled = configuration.streamEntireSSTables
    }

    // MARK: The node that moves data

    /// Moves the files whose tokens all change hands; nothing in them is rewritten.
    ///
    /// Failures here are harmless: rows that do not come in files are read afterwards.
    /// - Parameter count: called with the bytes of each move.
    func move(_ moves: [TableMove], into streams: FileStreams, count: @Sendable @escaping (Int) -> Void) {
        guard isEnabled else { return }
        var tokens: [FileMove: [TokenSlice]] = [:]
        var order: [FileMove] = []
        for move in moves where move.table != PaxosAcceptor.table {
            for source in move.sources where source != move.receiver {
                let key = FileMove(table: move.table, source: source, receiver: move.receiver)
                if tokens[key] == nil { order.append(key) }
                tokens[key, default: []] += move.range.slices
            }
        }
        let wanted = tokens
        background.forEach(of: order, workers: RangeMoves.atOnce) { [self] key in
            guard !stop.isSet else { return }
            if let moved = move(key, wanted[key] ?? [], into: streams) { count(moved) }
        }
    }

    /// - Returns: bytes moved; nil when there is nothing to move as files.
    private func move(_ move: FileMove, _ tokens: [TokenSlice], into streams: FileStreams) -> Int? {
        guard let endpoint = metadata.endpoint(of: move.source) else { return nil }
        let session = newSession()
        let opened = peers.ask(
            .stream(.open(session: session, table: move.table, tokens: tokens)), at: endpoint, wanted: move.source,
            timeout: 120_000_000)
        guard case .stream(.files(let files)) = opened, !files.isEmpty else {
            close(session, at: move.source)
            return nil
        }
        var bytes = 0
        for file in files {
            let request = StreamRequest.pull(
                session: session, table: move.table, file: file.number, bytes: file.bytes, source: move.source)
            let reply: PeerReply
            if move.receiver == local.hostID {
                reply = pull(request)
            } else if let receiver = metadata.endpoint(of: move.receiver) {
                let timeout = 60_000_000 + Int64(file.bytes / FileTransfers.slowestPull) * 1_000_000
                reply = peers.ask(.stream(request), at: receiver, wanted: move.receiver, timeout: timeout)
            } else {
                reply = .failed(.connectionLost, "it is no longer a member")
            }
            guard case .stream(.pulled) = reply else {
                // The rows of files that have arrived are read once more.
                if !stop.isSet {
                    log.warn("files of table \(move.table) cannot be moved from \(move.source), copying rows: \(reply)")
                }
                close(session, at: move.source)
                return bytes
            }
            bytes += file.bytes
        }
        log.info("moved \(files.count) files of table \(move.table), \(bytes) bytes, from \(move.source)")
        streams.add(session, for: move)
        return bytes
    }

    /// An identifier that no other session has: the count tells it from others of this process, the time from those of
    /// other runs, the host id from those of other nodes.
    private func newSession() -> UUID {
        UUID(
            high: local.hostID.high ^ UInt64(bitPattern: time.monotonicMicroseconds()),
            low: local.hostID.low ^ sessionCount.add(1, ordering: .relaxed).newValue)
    }

    func close(_ streams: FileStreams) { for (move, session) in streams.all { close(session, at: move.source) } }

    /// Lets a source forget a session; one that is not closed ends by itself.
    private func close(_ session: UUID, at source: UUID) {
        guard !stop.isSet, let endpoint = metadata.endpoint(of: source) else { return }
        _ = peers.ask(.stream(.close(session: session)), at: endpoint, wanted: source, timeout: 1_000_000)
    }

    // MARK: The node that receives a file

    /// Fetches a file from another node; `done` is called on the loop.
    func pull(_ request: StreamRequest, loop: Int, _ done: @escaping @Sendable (PeerReply) -> Void) {
        background.run(.control) { [self] in
            let reply = pull(request)
            network.onLoop(loop) { done(reply) }
        }
    }

    /// Fetches a file piece by piece and adds it to the table.
    private func pull(_ request: StreamRequest) -> PeerReply {
        guard case .pull(let session, let tableID, let file, let bytes, let source) = request else {
            return .failed(.unknown, "not a request to fetch a file")
        }
        guard let table = storage.table(tableID) else {
            return .failed(.unknownTable, "table \(tableID) is not known here")
        }
        let began = time.monotonicMicroseconds()
        do throws(StorageError) {
            let incoming = try IncomingSSTable(engine: storage, table: table)
            while incoming.count < bytes {
                switch piece(session, file, at: incoming.count, of: source) {
                case .stream(.piece(let piece)) where !piece.isEmpty:
                    do throws(StorageError) { try incoming.append(piece) } catch {
                        incoming.abandon()
                        throw error
                    }
                case .failed(let reason, let text):
                    incoming.abandon()
                    return .failed(reason, "file \(file) of \(source): \(text)")
                default:
                    incoming.abandon()
                    return .failed(
                        .unknown, "file \(file) of \(source) ends after \(incoming.count) of \(bytes) bytes")
                }
                throttle.wait(for: incoming.count, since: began)
            }
            return .stream(.pulled(rows: try incoming.finish()))
        } catch { return .failed(.storage, "\(error)") }
    }

    private func piece(_ session: UUID, _ file: UInt32, at offset: Int, of source: UUID) -> PeerReply {
        var last = PeerReply.failed(.connectionLost, "\(source) is no longer a member")
        for attempt in 0..<4 {
            guard !stop.isSet, let endpoint = metadata.endpoint(of: source) else { break }
            last = peers.ask(
                .stream(.piece(session: session, file: file, offset: offset)), at: endpoint, wanted: source,
                timeout: 10_000_000)
            guard case .failed(.connectionLost, _) = last else { return last }
            background.sleep(nanoseconds: 200_000_000 << UInt64(attempt))
        }
        return last
    }
}
