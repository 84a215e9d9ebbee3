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
    /// Set when the operation is begun.
    final var id: UInt64 = 0
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
    /// The position in `DeadlineQueue`; -1: not in the queue.
    final var timerPlace = -1
    /// The time at which the operation wants to be woken, if before its deadline.
    final var wakeAt = Int64.max
    /// The operation that this one is part of, until this one has its result.
    final var outer: Operation?
    /// Receives the result of an operation that is part of another.
    final var whenFinished: ((Result<Outcome, ServerError>, _ now: Int64) -> Void)?
    /// The ids of all requests of this operation.
    final var requests: [UInt64] = []
    let cluster: ClusterView
    unowned let coordinator: Coordinator
    /// The monotonic time, in microseconds, at which the operation gives up.
    final var deadline: Int64

    init(_ coordinator: Coordinator, cluster: ClusterView, deadline: Int64) {
        self.coordinator = coordinator
        self.cluster = cluster
        self.deadline = deadline
    }

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
