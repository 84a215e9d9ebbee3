import Platform

/// The background work of one process, on simulated threads: for each kind as many at once as `ThreadPools` has threads
/// by default.
///
/// SAFETY: `@unchecked Sendable` because it belongs to a world, which one thread runs.
public final class SimulatedBackground: Background, @unchecked Sendable {
    private let incarnation: Incarnation
    private var waiting: [[@Sendable () -> Void]]
    private var running: [Int]

    public init(incarnation: Incarnation) {
        self.incarnation = incarnation
        waiting = BackgroundKind.allCases.map { _ in [] }
        running = BackgroundKind.allCases.map { _ in 0 }
    }

    /// The number of threads of a kind.
    static func limit(_ kind: BackgroundKind) -> Int {
        switch kind {
        case .flush, .compaction: 1
        case .sync: 4
        case .read: 8
        case .control: 16
        }
    }

    public func run(_ kind: BackgroundKind, _ work: @escaping @Sendable () -> Void) {
        waiting[kind.rawValue].append(work)
        startNext(kind)
    }

    private func startNext(_ kind: BackgroundKind) {
        guard running[kind.rawValue] < SimulatedBackground.limit(kind), !waiting[kind.rawValue].isEmpty else { return }
        running[kind.rawValue] += 1
        let work = waiting[kind.rawValue].removeFirst()
        let world = incarnation.world
        var delay = world.random.nanoseconds(1_000...60_000)
        if kind != .control { delay += incarnation.machine.disk.delay(&world.random) }
        world.add(
            after: delay, on: incarnation,
            .begin(.background) { [self] in
                work()
                running[kind.rawValue] -= 1
                startNext(kind)
            })
    }

    public func sleep(nanoseconds: UInt64) {
        if let fiber = Fiber.current { return fiber.sleep(nanoseconds: nanoseconds) }
        incarnation.world.sleep(nanoseconds)
    }

    public func wait(_ register: (_ resume: @escaping @Sendable () -> Void) -> Void) {
        if let fiber = Fiber.current { return fiber.wait(register) }
        incarnation.world.park(register)
    }
}
