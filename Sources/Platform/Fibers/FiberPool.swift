/// The fibers of one loop.
///
/// A fiber that has finished its task is reused, the most recent first, so that its stack is in the processor's cache.
/// `trim` frees fibers that have been idle for a while.
///
/// **Thread safety**: its loop only.
/// SAFETY: `@unchecked Sendable` for that reason.
public final class FiberPool: @unchecked Sendable {
    public let loop: Int
    let network: any EventLoops
    let background: any Background
    let time: any TimeSource
    /// The maximum number of fibers; beyond it `run` refuses tasks.
    public let limit: Int
    private let makeAttachment: () -> AnyObject?
    private let stackBytes: Int
    private var idle: [Fiber] = []
    /// The minimum number of idle fibers since the last `trim`.
    private var leastIdle = 0
    /// Fibers that exist, busy or idle.
    public private(set) var count = 0
    /// Fibers that have yielded, in order.
    private var yielded: [Fiber] = []
    private var isServingYielded = false
    let comparesAccesses: Bool

    /// The time after which a fiber yields.
    static let turnNanoseconds: UInt64 = 500_000
    /// The delay before a yielded fiber resumes: long enough for the loop to check its sockets first.
    private static let pauseNanoseconds: UInt64 = 20_000

    #if DEBUG
        /// Frames of unoptimized code are several times as large.
        public static let defaultStackBytes = 1 << 20
    #else
        /// The stack of a fiber. Pages that are never touched take no memory.
        public static let defaultStackBytes = 512 << 10
    #endif

    /// - Parameter makeAttachment: creates the object to keep with a fiber.
    public init(
        loop: Int, network: any EventLoops, background: any Background, time: any TimeSource, limit: Int = 8192,
        stackBytes: Int = FiberPool.defaultStackBytes,
        makeAttachment: @escaping () -> AnyObject? = { nil }
    ) {
        self.loop = loop
        self.network = network
        self.background = background
        self.time = time
        self.limit = limit
        self.stackBytes = stackBytes
        self.makeAttachment = makeAttachment
        comparesAccesses = network.comparesAccessesOfFibers
    }

    deinit { for fiber in idle { fiber.end() } }

    /// The state of a task after `run` returns.
    public enum Turn: Sendable {
        case done
        /// The task waits and continues later.
        case waiting
        /// The task was not started: all fibers are in use.
        case refused
    }

    /// Fibers that run a task.
    public var busy: Int { count - idle.count }

    /// Runs a task until it waits or is done.
    @inline(__always) public func run(_ task: any FiberTask) -> Turn {
        guard let fiber = take() else { return .refused }
        guard fiber.begin(task) else { return .waiting }
        put(fiber)
        return .done
    }

    /// Like the method above, with a closure.
    public func run(_ work: @escaping () -> Void) -> Turn { run(ClosureTask(work)) }

    private final class ClosureTask: FiberTask {
        private let work: () -> Void
        init(_ work: @escaping () -> Void) { self.work = work }
        func run(on fiber: Fiber) { work() }
    }

    @inline(__always) private func take() -> Fiber? {
        if let fiber = idle.popLast() {
            leastIdle = min(leastIdle, idle.count)
            return fiber
        }
        return make()
    }

    @inline(never) private func make() -> Fiber? {
        guard count < limit else { return nil }
        count += 1
        leastIdle = 0
        return Fiber(pool: self, attachment: makeAttachment(), stackBytes: stackBytes)
    }

    @inline(__always) func put(_ fiber: Fiber) { idle.append(fiber) }

    /// Frees the fibers that were idle ever since the last call. Call it every few seconds.
    public func trim() {
        // The fibers at the front were used least recently.
        let spare = max(0, min(leastIdle, idle.count - 1))
        for fiber in idle.prefix(spare) { fiber.end() }
        idle.removeFirst(spare)
        count -= spare
        leastIdle = idle.count
    }

    /// Calls `trim` every ten seconds from now on, as long as the pool exists.
    public func keepTrimmed() {
        network.schedule(loop: loop, nanoseconds: 10_000_000_000) { [weak self] in
            self?.trim()
            self?.keepTrimmed()
        }
    }

    // MARK: Fibers that let others go first

    func queue(_ fiber: Fiber) {
        yielded.append(fiber)
        serveYielded()
    }

    /// Resumes one fiber after the other, with a check of the loop's sockets between them.
    private func serveYielded() {
        if isServingYielded || yielded.isEmpty { return }
        isServingYielded = true
        network.schedule(loop: loop, nanoseconds: FiberPool.pauseNanoseconds) { [self] in
            isServingYielded = false
            guard !yielded.isEmpty else { return }
            let fiber = yielded.removeFirst()
            // The next fiber is scheduled after this one's turn.
            fiber.resume()
            serveYielded()
        }
    }
}
