import Platform
import Primitives

/// A loop on simulated time, with one fiber pool and background work, for tests of code that waits.
///
/// **Thread safety**: none; everything runs on the test's thread.
/// SAFETY: `@unchecked Sendable` for that reason.
public final class ModelLoop: EventLoops, Background, TimeSource, @unchecked Sendable {
    private var tasks: [(time: UInt64, order: UInt64, work: @Sendable () -> Void)] = []
    private var order: UInt64 = 0
    private var now: UInt64 = 1
    private var random: SeededRandom
    public private(set) var pool: FiberPool!
    /// What a fiber has when it is made.
    private let makeAttachment: () -> AnyObject?

    public init(
        seed: UInt64 = 1, stackBytes: Int = FiberPool.defaultStackBytes,
        makeAttachment: @escaping () -> AnyObject? = { nil }
    ) {
        random = SeededRandom(seed: seed)
        self.makeAttachment = makeAttachment
        pool = FiberPool(
            loop: 0, network: self, background: self, time: self, stackBytes: stackBytes, makeAttachment: makeAttachment
        )
    }

    // MARK: Running

    /// Runs `body` on a fiber and returns what it returned, when it has.
    public func run<R>(_ body: @escaping (Fiber) throws -> R) throws -> R {
        var outcome: Result<R, any Error>?
        start { fiber in outcome = Result { try body(fiber) } }
        while outcome == nil, step() {}
        guard let outcome else { throw Stuck() }
        return try outcome.get()
    }

    /// Begins `body` on a fiber.
    public func start(_ body: @escaping (Fiber) -> Void) {
        _ = pool.run { if let fiber = Fiber.current { body(fiber) } }
    }

    /// Lets everything happen that is due, and what follows from it.
    public func drain() { while step() {} }

    /// Nothing is left to happen, and a fiber waits.
    public struct Stuck: Error { public init() {} }

    /// Lets the next thing happen; false when there is none.
    public func step() -> Bool {
        guard
            let index = tasks.indices.min(by: { (tasks[$0].time, tasks[$0].order) < (tasks[$1].time, tasks[$1].order) })
        else {
            return false
        }
        let task = tasks.remove(at: index)
        now = max(now, task.time)
        task.work()
        return true
    }

    private func add(after nanoseconds: UInt64, _ work: @escaping @Sendable () -> Void) {
        order += 1
        tasks.append((now &+ nanoseconds, order, work))
    }

    // MARK: EventLoops, Background, TimeSource

    public func onLoop(_ loop: Int, _ work: @escaping @Sendable () -> Void) { add(after: 0, work) }
    public func schedule(loop: Int, nanoseconds: UInt64, _ work: @escaping @Sendable () -> Void) {
        add(after: nanoseconds, work)
    }
    public func run(_ kind: BackgroundKind, _ work: @escaping @Sendable () -> Void) {
        add(after: random.next() % 50_000, work)
    }
    public func sleep(nanoseconds: UInt64) { Fiber.current?.sleep(nanoseconds: nanoseconds) }
    public func wallMicroseconds() -> Int64 { 1_700_000_000_000_000 + Int64(now / 1000) }
    public func monotonicNanoseconds() -> UInt64 { now }
}
