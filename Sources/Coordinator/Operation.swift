import DataModel
import Messages
import Primitives

/// The result of an operation.
public enum Outcome: Sendable {
    case done
    /// As `done`, but some partition has only hints: they must be durable before the client is told.
    case hinted
    /// As `done`, but too few replicas are alive, so this many fallback nodes store hints for dead ones.
    case sloppy(fallbackReplicas: Int)
    /// The answer to the read of one stretch, a range in which all keys have the same replicas.
    case stretch(ReadAnswer)
    /// The answers, in the order of the requested stretches. The list ends after the first answer that does not cover
    /// its stretch.
    case read([ReadAnswer])
    /// A Paxos round is open under this ballot; no unfinished proposal is left.
    /// - found: the requested row, if a quorum of the replicas returned the same one.
    case ballot(Ballot, found: ReadAnswer?)
    /// A proposal lost to another ballot and was accepted nowhere: the transaction may start again.
    case contended
}

/// Timeouts in microseconds, and other limits of a coordinator.
public struct CoordinatorLimits: Sendable {
    public var readTimeout: Int64 = 5_000_000
    public var rangeTimeout: Int64 = 10_000_000
    public var writeTimeout: Int64 = 2_000_000
    public var counterTimeout: Int64 = 5_000_000
    public var casContentionTimeout: Int64 = 1_800_000
    /// The time after which another replica is asked in addition to a silent one.
    public var speculativeDelay: Int64 = 50_000
    /// The interval at which `Effect.latencies` reports read latencies; 0: never, and nothing is measured.
    public var latencyInterval: Int64 = 0
    /// The maximum number of concurrent operations on one loop; beyond it requests fail as overloaded.
    public var operations = 20_000
    /// Whether hints are stored for replicas that miss a write.
    public var hintedHandoff = true

    public init() {}
}

/// One client operation that involves other nodes: a state machine driven by its coordinator.
///
/// Subclasses send requests with `ask` and call `finish` exactly once. Events after `finish` only handle late replies.
class Operation {
    /// A request of the operation.
    struct Request {
        /// The node that was asked, and what the operation calls the request.
        let node: Int32
        let tag: Int32
        /// The send time, if the latency is measured; else -1.
        let sentAt: Int64
        var isAnswered = false
    }

    /// Set when the operation is begun.
    final var id = OperationID.none
    final private(set) var isFinished = false
    /// Whether a replica refused because it knows newer members. Starting the operation again with the new members may
    /// succeed.
    final var wasRefusedByNewerMembers = false
    /// A replica did not know a table.
    final var hasMetUnknownTable = false
    /// This node's view did not know a table, and nobody was asked.
    final var viewLacksTable = false
    /// Requests of this operation that have no reply yet.
    final var outstanding = 0
    /// The time at which the operation wants to be woken, if before its deadline.
    final var wakeAt = Int64.max
    /// What `Effect.finished` carries.
    final var owner: AnyObject?
    /// The operation that this one is part of, until this one has its result.
    final var outer: Operation?
    /// Receives the result of an operation that is part of another.
    final var whenFinished: ((Result<Outcome, ServerError>, _ now: Int64) -> Void)?
    /// All requests of this operation; the number of the first is 1.
    final private var requests: ContiguousArray<Request> = []
    final private(set) var cluster: ClusterView
    unowned let coordinator: Coordinator
    /// The monotonic time, in microseconds, at which the operation gives up.
    final var deadline: Int64

    init(_ coordinator: Coordinator, cluster: ClusterView, deadline: Int64) {
        self.coordinator = coordinator
        self.cluster = cluster
        self.deadline = deadline
    }

    /// Makes a finished operation new, so that it can be begun again.
    final func reset(cluster: ClusterView, deadline: Int64) {
        precondition(isFinished && outstanding == 0, "only an operation that has ended can be used again")
        id = .none
        isFinished = false
        wasRefusedByNewerMembers = false
        hasMetUnknownTable = false
        viewLacksTable = false
        wakeAt = .max
        requests.removeAll(keepingCapacity: true)
        self.cluster = cluster
        self.deadline = deadline
    }

    /// This operation, if another write may use it when it has ended.
    var asReusableWrite: WriteOperation? { nil }
    /// This operation, if another read may use it when it has ended.
    var asReusableRead: ReadOperation? { nil }

    /// The error with which the operation would fail before it sends anything; nil if none.
    var refusal: ServerError? { nil }
    /// Sends the first requests, or finishes at once.
    func start(now: Int64) {}
    /// Processes a replica's reply to the request with this tag; `.failed` when there will be none.
    func receive(_ reply: PeerReply, tag: Int, from node: Int, now: Int64) {}
    /// Called at the time set with `wake(at:)`.
    func woken(now: Int64) {}
    /// Called at the deadline; finishes the operation if it has not finished.
    func expire(now: Int64) {}

    /// Notes a request that is being sent.
    /// - Returns: its number.
    final func addRequest(to node: Int, tag: Int, sentAt: Int64) -> Int {
        // Replies to a request whose number does not fit would be taken for those of another.
        precondition(requests.count < OperationID.lastNumber, "an operation has sent too many requests")
        requests.append(Request(node: Int32(node), tag: Int32(tag), sentAt: sentAt))
        return requests.count
    }

    /// Takes the request that was answered; nil if it was answered or dropped before.
    final func takeRequest(_ number: Int) -> Request? {
        guard number > 0, number <= requests.count, !requests[number - 1].isAnswered else { return nil }
        requests[number - 1].isAnswered = true
        outstanding -= 1
        return requests[number - 1]
    }

    /// Takes all requests that have no reply.
    final func takeAllRequests() -> [Request] {
        outstanding = 0
        let open = requests.filter { !$0.isAnswered }
        for index in requests.indices { requests[index].isAnswered = true }
        return Array(open)
    }

    final func ask(_ node: Int, _ request: PeerRequest, tag: Int, now: Int64) {
        outstanding += 1
        coordinator.send(request, of: self, to: node, tag: tag, now: now)
    }

    /// Schedules a call of `woken`; replaces an earlier schedule.
    final func wake(at time: Int64) { coordinator.wake(self, at: time) }

    final func finish(_ result: Result<Outcome, ServerError>) {
        precondition(!isFinished, "an operation ends once")
        isFinished = true
        coordinator.finished(self, result)
    }
}
