import DataModel
import Messages
import Primitives
import Storage
import Synchronization

/// Files that are set aside for nodes that fetch them.
///
/// A session ends when it is closed, or has not been asked for a while: its files may be gone from the table, and hold space on the disk until then.
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
    /// More at once are refused: rows are read instead.
    static let most = 1024

    init(replica: LocalReplica) { self.replica = replica }

    /// Carries a request out that is not `pull`; waits for the disk.
    func handle(_ request: StreamRequest) throws(ReplicaError) -> PeerReply {
        switch request {
        case .open(let session, let table, let tokens): return .stream(.files(try open(session, table, tokens)))
        case .piece(let session, let number, let offset):
            guard let file = try files(session).first(where: { $0.id == number }) else {
                return .failed(.unknown, "file \(number) was not set aside")
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

    private func open(_ id: UUID, _ tableID: UUID, _ tokens: [TokenSlice]) throws(ReplicaError) -> [StreamReply.StreamedFile] {
        guard let table = replica.engine.table(tableID) else { throw .unknownTable(tableID) }
        do throws(StorageError) { try replica.engine.flush(table) } catch { throw LocalReplica.convert(error) }
        let files = table.files(within: StreamSessions.stretches(tokens))
        let now = replica.engine.monotonicNanoseconds
        try sessions.withLock { (sessions) throws(ReplicaError) in
            for (other, session) in sessions where now - min(now, session.usedAt) > StreamSessions.idle { sessions[other] = nil }
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
        guard let files else { throw .storage("there is no stream \(id) any more") }
        return files
    }

    /// Slices that touch each other as one stretch of keys.
    static func stretches(_ tokens: [TokenSlice]) -> [KeyRange] {
        var joined: [TokenSlice] = []
        for slice in tokens.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = joined.last, last.upperBound == .max || slice.lowerBound <= last.upperBound + 1 {
                joined[joined.count - 1] = last.lowerBound...max(last.upperBound, slice.upperBound)
            } else {
                joined.append(slice)
            }
        }
        return joined.map { KeyRange.tokens(after: $0.lowerBound == .min ? .min : $0.lowerBound - 1, through: $0.upperBound) }
    }
}
