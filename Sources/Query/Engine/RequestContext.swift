import CQL
import Coordinator
import DataModel
import Platform
import Primitives
import Synchronization

/// The state of one request: its clock reading, deadline, identifiers, trace and working memory.
///
/// Each fiber has one and reuses it for all its requests.
///
/// **Thread safety**: one request at a time.
public final class RequestContext {
    var workspace: Workspace
    /// The wall clock at the start of the request, microseconds since 1970: read once.
    private(set) var startedMicroseconds: Int64 = 0
    /// The request's current time, in seconds since 1970: for TTL checks and deletion times.
    private(set) var nowSeconds: UInt32 = 0
    private(set) var deadline = Deadline.none
    /// The client that waits for the answer; nil: nobody can go away.
    public var client: ClientPresence?
    var trace: Trace?
    let memory: MemoryAccount
    let statements: LoopStatements
    /// The port of the last request that had one, to be used again.
    public var port: CoordinatedRequest?
    /// Whether the request may have written to the replica of this process directly, without a coordinator. The commit
    /// log must then be flushed before the client gets its answer.
    public internal(set) var hasWritten = false

    /// - Parameters:
    ///   - identifiers: those of the loop.
    ///   - statements: those of the loop.
    ///   - budget: for answers; nil: they are limited by `QueryLimits.maxResultSize` only.
    public init(
        identifiers: IdentifierSource = IdentifierSource(), statements: LoopStatements = LoopStatements(),
        budget: (any MemoryBudget)? = nil
    ) {
        self.statements = statements
        memory = MemoryAccount(budget: budget)
        workspace = Workspace(context: EvaluationContext(identifiers: identifiers))
    }

    /// Begins a request.
    func begin(startedMicroseconds: Int64, nowInSeconds: Int32?) {
        self.startedMicroseconds = startedMicroseconds
        nowSeconds = nowInSeconds.map { UInt32(clamping: $0) } ?? UInt32(clamping: startedMicroseconds / 1_000_000)
        workspace.context.begin(nowMicroseconds: startedMicroseconds)
        deadline = .none
        trace = nil
        hasWritten = false
    }

    /// Ends a request: releases what it has reserved and nobody has taken over.
    public func end() {
        memory.releaseAll()
        // A request that failed may have left much in them.
        workspace.projector.releaseLargeBuffers()
    }

    /// Returns the bytes reserved for the answer. The caller releases them when the answer has been sent.
    public func takeReservation() -> Int { memory.take() }

    /// Sets the deadline to `timeout` from now.
    func limit(to timeout: Duration, isRead: Bool) {
        deadline = Deadline(after: timeout, isRead: isRead, client: client)
    }
}

/// Whether a client is still there. Reads for a client that has gone end at their next look at the deadline.
///
/// **Thread safety**: all methods, from any thread.
public final class ClientPresence: Sendable {
    private let gone = Atomic<Bool>(false)

    public init() {}

    public var isGone: Bool { gone.load(ordering: .relaxed) }

    /// Notes that the connection has ended.
    public func leave() { gone.store(true, ordering: .relaxed) }
}

/// The time at which a request gives up.
struct Deadline {
    /// Monotonic nanoseconds.
    private let at: UInt64
    private let isRead: Bool
    private let client: ClientPresence?

    static let none = Deadline(at: .max, isRead: true)

    private init(at: UInt64, isRead: Bool) {
        self.at = at
        self.isRead = isRead
        client = nil
    }

    init(after timeout: Duration, isRead: Bool, client: ClientPresence? = nil) {
        self.isRead = isRead
        self.client = client
        let (seconds, attoseconds) = timeout.components
        at =
            RowProjector.monotonicNanoseconds() &+ UInt64(max(0, seconds)) &* 1_000_000_000
            &+ UInt64(max(0, attoseconds) / 1_000_000_000)
    }

    /// Yields to other requests of the loop when this one has run for long, and checks the time. Reads the clock twice:
    /// call it only once per few microseconds of work.
    /// - Throws: a timeout after the deadline; an error that nobody gets when the client has gone.
    func check() throws(ServerError) {
        Fiber.yieldIfNeeded()
        if let client, client.isGone {
            throw ServerError(.serverError, "the client has closed its connection")
        }
        guard at != .max, RowProjector.monotonicNanoseconds() > at else { return }
        guard isRead else {
            throw ServerError(
                .writeTimeout, "Operation timed out before anything was written.",
                detail: .writeTimeout(consistency: .one, received: 0, required: 1, writeType: "SIMPLE"))
        }
        throw ServerError(
            .readTimeout, "Operation timed out - received only 0 responses.",
            detail: .readTimeout(consistency: .one, received: 0, required: 1, dataPresent: false))
    }
}

/// Calls `Deadline.check` every so many steps of a tight loop.
struct DeadlineLoop {
    private let deadline: Deadline
    private let every: Int
    private var left: Int

    /// - Parameter every: steps between two checks.
    init(_ deadline: Deadline, every: Int) {
        self.deadline = deadline
        self.every = every
        left = every
    }

    @inline(__always) mutating func step() throws(ServerError) {
        left -= 1
        if left > 0 { return }
        left = every
        try deadline.check()
    }
}

/// The buffers a request works in. Passed down as `inout`; single fields are passed where several are needed at once.
struct Workspace: ~Copyable {
    var mutations = MutationWriter()
    var key = ByteWriter()
    /// Holds a path, a bound or a second key.
    var path = ByteWriter()
    /// The last evaluated value.
    var value = ByteWriter()
    var projector = RowProjector()
    var context: EvaluationContext

    init(context: EvaluationContext) { self.context = context }

    /// Empties `mutations`; releases its memory after a write of more than 1 MiB.
    mutating func beginMutations() {
        if mutations.count > 1 << 20 { mutations = MutationWriter() } else { mutations.removeAll() }
    }
}
