import DataModel
import Messages
import Platform
import Primitives
import Replica
import Storage
import Synchronization

/// Files of one table that one node gives to another.
struct FileMove: Sendable, Hashable {
    let table: UUID
    let source: UUID
    let receiver: UUID
}

/// The files of a move that have arrived, by the session their source set them aside in; the rest is read as rows.
///
/// **Thread safety**: all methods, from any thread.
final class FileStreams: Sendable {
    private let sessions = Mutex<[FileMove: UUID]>([:])

    subscript(move: FileMove) -> UUID? { sessions.withLock { $0[move] } }

    func add(_ session: UUID, for move: FileMove) { sessions.withLock { $0[move] = session } }

    /// Of whom the rows are read all the same.
    func remove(_ move: FileMove) { sessions.withLock { $0[move] = nil } }

    var all: [(move: FileMove, session: UUID)] { sessions.withLock { $0.map { ($0.key, $0.value) } }.sorted { $0.1 < $1.1 } }
}

extension ClusterService {
    /// A file that does not arrive at this pace is given up; bytes a second.
    private static let slowestPull = 256 << 10

    /// Moves the files whose tokens all change hands as they stand: no row of them is taken apart.
    ///
    /// What goes wrong here is mended by reading rows.
    func moveFiles(_ moves: [TableMove], into streams: FileStreams, count bytes: @Sendable @escaping (Int) -> Void) {
        guard configuration.streamEntireSSTables else { return }
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
        inParallel(order) { [self] key in
            guard !hasStopped else { return }
            if let moved = moveFiles(key, wanted[key] ?? [], into: streams) { bytes(moved) }
        }
    }

    /// - Returns: bytes moved; nil when there is nothing to move as files.
    private func moveFiles(_ move: FileMove, _ tokens: [TokenSlice], into streams: FileStreams) -> Int? {
        guard let endpoint = endpoint(of: move.source) else { return nil }
        // Its own among all of this process by the count, and among those of other runs and nodes by the rest.
        let session = UUID(
            high: hostID.high ^ UInt64(bitPattern: now), low: hostID.low ^ streamCount.add(1, ordering: .relaxed).newValue)
        let opened = ask(
            .stream(.open(session: session, table: move.table, tokens: tokens)), at: endpoint, wanted: move.source, timeout: 120_000_000)
        guard case .stream(.files(let files)) = opened, !files.isEmpty else {
            close(session, at: move.source)
            return nil
        }
        var bytes = 0
        for file in files {
            let request = StreamRequest.pull(
                session: session, table: move.table, file: file.number, bytes: file.bytes, source: move.source)
            let reply: PeerReply
            if move.receiver == hostID {
                reply = pull(request)
            } else if let receiver = self.endpoint(of: move.receiver) {
                let timeout = 60_000_000 + Int64(file.bytes / ClusterService.slowestPull) * 1_000_000
                reply = ask(.stream(request), at: receiver, wanted: move.receiver, timeout: timeout)
            } else {
                reply = .failed(.connectionLost, "it is no longer a member")
            }
            guard case .stream(.pulled) = reply else {
                // Files that arrived are only read once more.
                if !hasStopped { log.warning("files of \(move.table) do not move from \(move.source), its rows do: \(reply)") }
                close(session, at: move.source)
                return bytes
            }
            bytes += file.bytes
        }
        log.info("\(files.count) files of table \(move.table) with \(bytes) bytes came from \(move.source)")
        streams.add(session, for: move)
        return bytes
    }

    func close(_ streams: FileStreams) { for (move, session) in streams.all { close(session, at: move.source) } }

    /// A session that is not closed ends by itself.
    private func close(_ session: UUID, at source: UUID) {
        guard !hasStopped, let endpoint = endpoint(of: source) else { return }
        _ = ask(.stream(.close(session: session)), at: endpoint, wanted: source, timeout: 1_000_000)
    }

    // MARK: The node that takes

    func pull(_ request: StreamRequest, loop: Int, _ done: @escaping @Sendable (PeerReply) -> Void) {
        background.run(.control) { [self] in
            let reply = pull(request)
            network.onLoop(loop) { done(reply) }
        }
    }

    /// Fetches a file piece by piece and makes it a part of the table; on a background thread.
    private func pull(_ request: StreamRequest) -> PeerReply {
        guard case .pull(let session, let tableID, let file, let bytes, let source) = request else {
            return .failed(.unknown, "not a request to fetch a file")
        }
        guard let table = storage.table(tableID) else { return .failed(.unknownTable, "table \(tableID) is not known here") }
        let began = now
        do throws(StorageError) {
            let incoming = try IncomingTable(engine: storage, table: table)
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
                    return .failed(.unknown, "file \(file) of \(source) ends after \(incoming.count) of \(bytes) bytes")
                }
                throttle(incoming.count, since: began)
            }
            return .stream(.pulled(rows: try incoming.finish()))
        } catch { return .failed(.storage, "\(error)") }
    }

    private func piece(_ session: UUID, _ file: UInt32, at offset: Int, of source: UUID) -> PeerReply {
        var last = PeerReply.failed(.connectionLost, "\(source) is no longer a member")
        for attempt in 0..<4 {
            guard !hasStopped, let endpoint = endpoint(of: source) else { break }
            last = ask(
                .stream(.piece(session: session, file: file, offset: offset)), at: endpoint, wanted: source, timeout: 10_000_000)
            guard case .failed(.connectionLost, _) = last else { return last }
            background.sleep(nanoseconds: 200_000_000 << UInt64(attempt))
        }
        return last
    }
}
