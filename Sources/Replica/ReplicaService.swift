import DataModel
import Messages
import Primitives
import Storage

/// Executes the requests of coordinators, on this node and others, on the local storage.
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

    /// The reply, and what must happen before it is sent.
    public struct Result: Sendable {
        public var reply: PeerReply
        /// Whether the reply depends on state that must be synced to disk first, in every commit log mode.
        public var needsSync = false
        /// New counter shards, to be sent to the other replicas before the leader replies.
        public var counted: (mutations: [UInt8], consistency: Consistency)?

        public init(
            reply: PeerReply, needsSync: Bool = false, counted: (mutations: [UInt8], consistency: Consistency)? = nil
        ) {
            self.reply = reply
            self.needsSync = needsSync
            self.counted = counted
        }
    }

    /// Executes a request. Waits on the calling fiber, or blocks the thread when there is none.
    public func execute(_ request: PeerRequest) -> Result {
        do throws(ReplicaError) { return try attempt(request) } catch {
            return Result(reply: ReplicaService.failure(error))
        }
    }

    /// Executes a write that need not wait.
    /// - Returns: false for other requests, when a wait is necessary, and when the write failed. The write may then be
    ///   executed again.
    public func writeAtOnce(_ request: PeerRequest) -> Bool {
        switch request {
        case .write(let mutations), .hint(let mutations), .repair(let mutations):
            do throws(StorageError) {
                return try mutations.withUnsafeBytesTyped { (bytes) throws(StorageError) in
                    try replica.engine.applyAtOnce(bytes)
                }
            } catch { return false }
        default: return false
        }
    }

    private static func failure(_ error: ReplicaError) -> PeerReply {
        switch error {
        case .unknownTable(let id): .failed(.unknownTable, "table \(id) is not known here")
        case .overloaded(let why): .failed(.overloaded, why)
        case .storage(let why): .failed(.storage, why)
        case .server(let error): .failed(.unknown, error.message)
        }
    }

    private func attempt(_ request: PeerRequest) throws(ReplicaError) -> Result {
        switch request {
        case .write(let mutations), .hint(let mutations), .repair(let mutations):
            try apply(mutations)
            return Result(reply: .done)
        case .read(let command): return Result(reply: .read(try replica.answer(command)))
        case .digest(let command): return Result(reply: .digest(try replica.answer(command).digest))
        case .count(let deltas, let consistency):
            var written: [UInt8] = []
            try deltas.withUnsafeBytesTyped { (bytes) throws(ReplicaError) in
                try replica.count(bytes, written: &written)
            }
            return Result(reply: .done, counted: (written, consistency))
        case .prepare(let key, let ballot, let reading):
            return Result(
                reply: .promise(try acceptor.prepare(key, ballot, reading: reading)),
                needsSync: !PlantedBugs.isOn(.paxosNotSynced))
        case .propose(let key, let ballot, let value):
            let answer = try acceptor.propose(key, ballot, value: value)
            return Result(
                reply: .accepted(answer.isAccepted, promised: answer.promised),
                needsSync: !PlantedBugs.isOn(.paxosNotSynced))
        case .commit(let key, let ballot, let value):
            try acceptor.commit(key, ballot, value: value)
            return Result(reply: .done)
        case .tree(let command):
            return Result(reply: .tree(try replica.tree(command)))
        case .storeBatch(let batch):
            try batchLog.store(batch)
            return Result(reply: .done)
        case .removeBatch(let key):
            try batchLog.remove(key)
            return Result(reply: .done)
        case .stream(let request):
            return Result(reply: try streams.handle(request))
        case .metadata, .gossip, .keepHint: return Result(reply: .failed(.unknown, "not for the replica"))
        }
    }

    private func apply(_ mutations: [UInt8]) throws(ReplicaError) {
        do throws(StorageError) {
            try mutations.withUnsafeBytesTyped { (bytes) throws(StorageError) in
                try replica.engine.apply(bytes)
            }
        } catch { throw LocalReplica.convert(error) }
    }
}
