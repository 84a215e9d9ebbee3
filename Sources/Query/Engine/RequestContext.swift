import CQL
import DataModel
import Platform
import Primitives

/// What goes with a request from its first step to its last: its clock reading, its deadline, its identifiers, its trace, and the memory it works in.
///
/// A fiber has one, which all its requests use one after the other.
///
/// **Thread safety**: one request at a time.
public final class RequestContext {
    var workspace: Workspace
    /// The one look at the wall clock, microseconds since 1970.
    private(set) var startedMicroseconds: Int64 = 0
    /// Seconds since 1970 at which times to live are judged, and deletions made.
    private(set) var nowSeconds: UInt32 = 0
    private(set) var deadline = Deadline.none
    var trace: Trace?
    let memory: MemoryAccount
    /// Whether the request may have written to the replica of this process, by itself: its log must be flushed before the client is told.
    public internal(set) var hasWritten = false

    /// - Parameters:
    ///   - identifiers: those of the loop.
    ///   - budget: for answers; nil: they are limited by `QueryLimits.maxResultSize` only.
    public init(identifiers: IdentifierSource = IdentifierSource(), budget: (any MemoryBudget)? = nil) {
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

    /// Ends a request: what it has reserved and nobody has taken over is released.
    public func end() { memory.releaseAll() }

    /// Hands the reservation for the request's answer over to whoever keeps the answer until it has been sent, who releases it.
    public func takeReservation() -> Int { memory.take() }

    /// From now on the request may take as long as `timeout`, counted from here.
    func limit(to timeout: Duration) { deadline = Deadline(after: timeout) }
}

/// Until when a request may go on.
struct Deadline {
    /// Monotonic nanoseconds.
    private let at: UInt64

    static let none = Deadline(at: .max)

    private init(at: UInt64) { self.at = at }

    init(after timeout: Duration) {
        let (seconds, attoseconds) = timeout.components
        at = RowProjector.monotonicNanoseconds() &+ UInt64(max(0, seconds)) &* 1_000_000_000
            &+ UInt64(max(0, attoseconds) / 1_000_000_000)
    }

    /// Lets other requests of the loop go first when this one has run for long, and looks at the time. Costs two looks at the clock: for every few
    /// microseconds of work.
    /// - Throws: a read timeout.
    func check() throws(ServerError) {
        Fiber.yieldIfNeeded()
        guard at != .max, RowProjector.monotonicNanoseconds() > at else { return }
        throw ServerError(
            .readTimeout, "Operation timed out - received only 0 responses.",
            detail: .readTimeout(consistency: .one, received: 0, required: 1, dataPresent: false))
    }
}

/// Calls `Deadline.check` now and then in a loop of short steps.
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

/// The buffers that a request works in; passed down as `inout`, its parts apart where they are used together.
struct Workspace: ~Copyable {
    var mutations = MutationWriter()
    var key = ByteWriter()
    /// A path, a bound or a second key.
    var path = ByteWriter()
    /// The value evaluated last.
    var value = ByteWriter()
    var projector = RowProjector()
    var context: EvaluationContext

    init(context: EvaluationContext) { self.context = context }

    /// Empties `mutations`; after an unusually large write its memory goes too.
    mutating func beginMutations() {
        if mutations.count > 1 << 20 { mutations = MutationWriter() } else { mutations.removeAll() }
    }
}
