import DataModel
import Messages
import Primitives
import Storage

/// Answers the requests of coordinators, on this node and others, from the local storage.
///
/// **Thread safety**: all methods, from any thread.
public struct ReplicaService: Sendable {
    public let replica: LocalReplica
    public let acceptor: PaxosAcceptor
    public let batchLog: BatchLog
    private let streams: StreamSessions

    public init(replica: LocalReplica) {
        self.replica = replica
        batchLog = BatchLog(replica: replica)
        acceptor = PaxosAcceptor(replica: replica)
        streams = StreamSessions(replica: replica)
    }

    /// What was done, and what has to happen before it is said.
    public struct Result: Sendable {
        public var reply: PeerReply
        /// The answer rests on state that must be on the disk, in every mode of the commit log.
        public var needsSync = false
        /// New shards of counters: for the other replicas before the leader answers.
        public var counted: (mutations: [UInt8], consistency: Consistency)?

        public init(reply: PeerReply, needsSync: Bool = false, counted: (mutations: [UInt8], consistency: Consistency)? = nil) {
            self.reply = reply
            self.needsSync = needsSync
            self.counted = counted
        }
    }

    /// Carries a request out.
    /// - Throws: only `wouldBlock`, with `.nonBlocking`: nothing was done; again with `.blocking` where waiting is allowed.
    public func handle(_ request: PeerRequest, io: IOMode) throws(ReplicaError) -> Result {
        do throws(ReplicaError) { return try carryOut(request, io) } catch {
            switch error {
            case .wouldBlock: throw error
            case .unknownTable(let id): return Result(reply: .failed(.unknownTable, "table \(id) is not known here"))
            case .overloaded(let why): return Result(reply: .failed(.overloaded, why))
            case .storage(let why): return Result(reply: .failed(.storage, why))
            case .pending, .restart, .server: return Result(reply: .failed(.unknown, "the storage asked other nodes"))
            }
        }
    }

    private func carryOut(_ request: PeerRequest, _ io: IOMode) throws(ReplicaError) -> Result {
        switch request {
        case .write(let mutations), .hint(let mutations), .repair(let mutations):
            try apply(mutations, io)
            return Result(reply: .done)
        case .read(let command): return Result(reply: .read(try replica.answer(command, io: io)))
        case .digest(let command): return Result(reply: .digest(try replica.answer(command, io: io).digest))
        case .count(let deltas, let consistency):
            // Counting is not done twice: what may stop in the middle is only begun where it need not.
            guard io == .blocking || !deltas.withUnsafeBytes(MutationReader.hasSeveralOperations) else { throw .wouldBlock }
            var written: [UInt8] = []
            let outcome: Swift.Result<Void, ReplicaError> = deltas.withUnsafeBytes { bytes in
                do throws(ReplicaError) { return .success(try replica.count(bytes, io: io, written: &written)) } catch {
                    return .failure(error)
                }
            }
            try outcome.get()
            return Result(reply: .done, counted: (written, consistency))
        case .prepare(let key, let ballot, let reading):
            return Result(
                reply: .promise(try acceptor.prepare(key, ballot, reading: reading, io: io)), needsSync: !PlantedBugs.isOn(.paxosNotSynced))
        case .propose(let key, let ballot, let value):
            let answer = try acceptor.propose(key, ballot, value: value, io: io)
            return Result(reply: .accepted(answer.isAccepted, promised: answer.promised), needsSync: !PlantedBugs.isOn(.paxosNotSynced))
        case .commit(let key, let ballot, let value):
            try acceptor.commit(key, ballot, value: value, io: io)
            return Result(reply: .done)
        case .tree(let command):
            guard io == .blocking else { throw .wouldBlock }
            return Result(reply: .tree(try replica.tree(command)))
        case .storeBatch(let batch):
            try batchLog.store(batch, io: io)
            return Result(reply: .done)
        case .removeBatch(let key):
            try batchLog.remove(key, io: io)
            return Result(reply: .done)
        case .stream(let request):
            guard io == .blocking else { throw .wouldBlock }
            return Result(reply: try streams.handle(request))
        case .metadata, .gossip, .keepHint: return Result(reply: .failed(.unknown, "not for the replica"))
        }
    }

    private func apply(_ mutations: [UInt8], _ io: IOMode) throws(ReplicaError) {
        do throws(StorageError) {
            try mutations.withUnsafeBytesTyped { (bytes) throws(StorageError) in
                try replica.engine.apply(bytes, mayBlock: io == .blocking)
            }
        } catch { throw LocalReplica.convert(error) }
    }
}
