import DataModel
import Messages
import Primitives
import Storage
import Synchronization

/// The streaming sessions of this node: sstables set aside for other nodes to fetch.
///
/// A session ends when it is closed, or when another one is opened after it has been idle for `idle` nanoseconds. Until
/// then its sstables keep their disk space even if compaction has replaced them.
///
/// **Thread safety**: all methods, from any thread.
final class StreamSessions: Sendable {
    private struct Session {
        let files: [SSTable]
        /// Monotonic nanoseconds of the last request.
        var usedAt: UInt64
    }

    private let replica: LocalReplica
    private let sessions = Mutex<[UUID: Session]>([:])

    static let idle: UInt64 = 600_000_000_000
    /// The maximum number of sessions. Further ones are refused, and the requesting node reads rows instead.
    static let most = 1024

    init(replica: LocalReplica) { self.replica = replica }

    /// Executes a request other than `pull`. Waits for the disk.
    func handle(_ request: StreamRequest) throws(ReplicaError) -> PeerReply {
        switch request {
        case .open(let session, let table, let tokens): return .stream(.files(try open(session, table, tokens)))
        case .piece(let session, let number, let offset):
            guard let file = try files(session).first(where: { $0.id == number }) else {
                return .failed(.unknown, "file \(number) is not part of the stream")
            }
            do throws(StorageError) {
                return .stream(.piece(try file.piece(at: offset, upTo: StreamRequest.pieceBytes)))
            } catch { throw LocalReplica.convert(error) }
        case .rest(let session, let command):
            return .read(try replica.answer(command, excluding: Set(try files(session).map(\.id))))
        case .close(let session):
            sessions.withLock { $0[session] = nil }
            return .done
        case .pull: return .failed(.unknown, "not for the replica")
        }
    }

    private func open(_ id: UUID, _ tableID: UUID, _ tokens: [TokenSlice]) throws(ReplicaError) -> [StreamReply
        .StreamedFile]
    {
        guard let table = replica.engine.table(tableID) else { throw .unknownTable(tableID) }
        do throws(StorageError) { try replica.engine.flush(table) } catch { throw LocalReplica.convert(error) }
        let files = table.files(within: StreamSessions.stretches(tokens))
        let now = replica.engine.monotonicNanoseconds
        try sessions.withLock { (sessions) throws(ReplicaError) in
            for (other, session) in sessions where now - min(now, session.usedAt) > StreamSessions.idle {
                sessions[other] = nil
            }
            guard sessions.count < StreamSessions.most else { throw .overloaded("\(sessions.count) streams are open") }
            sessions[id] = Session(files: files, usedAt: now)
        }
        return files.map { StreamReply.StreamedFile(number: $0.id, bytes: $0.fileBytes) }
    }

    private func files(_ id: UUID) throws(ReplicaError) -> [SSTable] {
        let now = replica.engine.monotonicNanoseconds
        let files = sessions.withLock { sessions in
            sessions[id]?.usedAt = now
            return sessions[id]?.files
        }
        guard let files else { throw .storage("stream \(id) is closed or unknown") }
        return files
    }

    /// Joins adjacent token slices into key ranges.
    static func stretches(_ tokens: [TokenSlice]) -> [KeyRange] {
        var joined: [TokenSlice] = []
        for slice in tokens.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = joined.last, last.upperBound == .max || slice.lowerBound <= last.upperBound + 1 {
                joined[joined.count - 1] = last.lowerBound...max(last.upperBound, slice.upperBound)
            } else {
                joined.append(slice)
            }
        }
        return joined.map {
            KeyRange.tokens(after: $0.lowerBound == .min ? .min : $0.lowerBound - 1, through: $0.upperBound)
        }
    }
}
