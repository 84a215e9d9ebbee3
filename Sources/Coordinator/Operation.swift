import DataModel
import Messages
import Primitives

/// What a finished operation gives to whoever began it.
public enum Outcome: Sendable {
    case done
    /// As `done`, but of some partition there are only hints: they must be on the disk before anybody is told.
    case hinted
    /// As `done`, but where too few replicas live so many other nodes keep the write for them, on their disks.
    case sloppy(standIns: Int)
    /// Answers in the order of the stretches asked for; a later one is missing when an earlier one was not covered to its end.
    case read([ReadAnswer])
    /// A round of Paxos is open under this ballot; nothing unfinished is left from before.
    /// - found: what was to be read, when a quorum of the replicas holds the same of it.
    case ballot(Ballot, found: ReadAnswer?)
    /// A proposal lost to another's round and was accepted nowhere: the transaction may begin anew.
    case contended
}

/// How long things may take, in microseconds, and how often they are tried.
public struct CoordinatorLimits: Sendable {
    public var readTimeout: Int64 = 5_000_000
    public var rangeTimeout: Int64 = 10_000_000
    public var writeTimeout: Int64 = 2_000_000
    public var counterTimeout: Int64 = 5_000_000
    public var casContentionTimeout: Int64 = 1_800_000
    /// After which a replica that is silent is no longer waited for alone.
    public var speculativeDelay: Int64 = 50_000
    /// How often it is told how fast replicas answer (`Effect.latencies`); 0: never, and nothing is measured.
    public var latencyInterval: Int64 = 0
    /// Operations at once on one loop; beyond it the node sheds.
    public var operations = 20_000
    /// Whether replicas that miss a write get it later.
    public var hintedHandoff = true

    public init() {}
}

/// One thing a client asked for that needs other nodes: a state machine driven by its coordinator.
///
/// Subclasses ask replicas through `ask`, and end with `finish` exactly once; what comes after is for late replies.
class Operation {
    /// Set when the operation is begun.
    final var id: UInt64 = 0
    final private(set) var isFinished = false
    /// A replica that knows newer members did nothing of what it was asked: begun anew by them the operation may succeed.
    final var wasRefusedByNewerMembers = false
    /// A replica did not know a table.
    final var hasMetUnknownTable = false
    /// This node's view did not know a table, and nobody was asked.
    final var viewLacksTable = false
    /// Requests of this operation that have no reply yet.
    final var outstanding = 0
    /// Where it stands in the queue of deadlines; -1: nowhere.
    final var timerPlace = -1
    /// When it wants to be woken, if that is before its deadline.
    final var wakeAt = Int64.max
    /// The operation that this one is part of, until it has its result.
    final var outer: Operation?
    /// Takes the result of an operation that is part of another.
    final var whenFinished: ((Result<Outcome, ServerError>, _ now: Int64) -> Void)?
    /// Ids of all requests of this operation.
    final var requests: [UInt64] = []
    let cluster: ClusterView
    unowned let coordinator: Coordinator
    /// Monotonic microseconds at which the operation gives up.
    final var deadline: Int64

    init(_ coordinator: Coordinator, cluster: ClusterView, deadline: Int64) {
        self.coordinator = coordinator
        self.cluster = cluster
        self.deadline = deadline
    }

    /// Why the operation would end at once, without asking anybody.
    var refusal: ServerError? { nil }
    /// Sends the first requests, or ends at once.
    func start(now: Int64) {}
    /// A replica answered request `tag`, or will not (`.failed`).
    func receive(_ reply: PeerReply, tag: Int, from node: Int, now: Int64) {}
    /// The time of `wake(at:)` has come.
    func woken(now: Int64) {}
    /// The deadline has come; ends the operation if it has not ended.
    func expire(now: Int64) {}

    final func ask(_ node: Int, _ request: PeerRequest, tag: Int, now: Int64) {
        outstanding += 1
        coordinator.send(request, of: self, to: node, tag: tag, now: now)
    }

    /// Has `woken` called then; an earlier call counts no more.
    final func wake(at time: Int64) { coordinator.wake(self, at: time) }

    final func finish(_ result: Result<Outcome, ServerError>) {
        precondition(!isFinished, "an operation ends once")
        isFinished = true
        coordinator.finished(self, result)
    }
}
