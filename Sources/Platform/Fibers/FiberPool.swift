/// The fibers of one loop.
///
/// A fiber that has done its task is used again, the last one first, so that its stack is in the processor's cache. Those that were not needed for a while
/// are freed by `trim`.
///
/// **Thread safety**: its loop only.
/// SAFETY: `@unchecked Sendable` for that reason.
public final class FiberPool: @unchecked Sendable {
    public let loop: Int
    let network: any EventLoops
    let background: any Background
    let time: any TimeSource
    /// The most fibers at once; beyond it `run` refuses.
    public let limit: Int
    private let makeAttachment: () -> AnyObject?
    private let stackBytes: Int
    private var idle: [Fiber] = []
    /// The fewest that were idle since the last `trim`.
    private var leastIdle = 0
    /// Fibers that were made and not freed.
    public private(set) var count = 0
    /// Fibers that let others go first.
    private var yielded: [Fiber] = []
    private var isServingYielded = false
    let comparesAccesses: Bool

    /// After which a fiber lets others go first.
    static let turnNanoseconds: UInt64 = 500_000
    /// The loop looks at its sockets before it goes on with fibers that yielded: those must not be due at once.
    private static let pauseNanoseconds: UInt64 = 20_000

    /// - Parameter makeAttachment: makes what is kept with a fiber.
    public init(
        loop: Int, network: any EventLoops, background: any Background, time: any TimeSource, limit: Int = 8192, stackBytes: Int = 256 << 10,
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

    /// What became of a task.
    public enum Turn: Sendable {
        case done
        /// It goes on when what it waits for has happened.
        case waiting
        /// It was not begun: all fibers are in use.
        case refused
    }

    /// Fibers with a task.
    public var busy: Int { count - idle.count }

    /// Runs a task until it waits or is done.
    @inline(__always) public func run(_ task: any FiberTask) -> Turn {
        guard let fiber = take() else { return .refused }
        guard fiber.begin(task) else { return .waiting }
        put(fiber)
        return .done
    }

    /// The same with a closure.
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

    /// Frees the fibers that were idle ever since the last call; call it every few seconds.
    public func trim() {
        // The first in the list are those that were used longest ago.
        let spare = max(0, min(leastIdle, idle.count - 1))
        for fiber in idle.prefix(spare) { fiber.end() }
        idle.removeFirst(spare)
        count -= spare
        leastIdle = idle.count
    }

    // MARK: Fibers that let others go first

    func queue(_ fiber: Fiber) {
        yielded.append(fiber)
        serveYielded()
    }

    /// One after the other, each after the loop has looked at its sockets.
    private func serveYielded() {
        if isServingYielded || yielded.isEmpty { return }
        isServingYielded = true
        network.schedule(loop: loop, nanoseconds: FiberPool.pauseNanoseconds) { [self] in
            isServingYielded = false
            guard !yielded.isEmpty else { return }
            let fiber = yielded.removeFirst()
            // The next is due after this one's turn.
            fiber.resume()
            serveYielded()
        }
    }
}
