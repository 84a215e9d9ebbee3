/// One loop: runs work in the order in which it was given, in ticks. A tick is everything that waits when it begins.
///
/// SAFETY: `@unchecked Sendable`, see `SimulatedNetwork`.
final class SimulatedLoop: @unchecked Sendable {
    let index: Int
    private let incarnation: Incarnation
    private let onThreads: Bool
    private var tasks: [() -> Void] = []
    private var hasTurn = false

    init(index: Int, incarnation: Incarnation, onThreads: Bool) {
        self.index = index
        self.incarnation = incarnation
        self.onThreads = onThreads
    }

    /// Runs `work` in the next tick, after the work given before.
    func execute(_ work: @escaping () -> Void) {
        tasks.append(work)
        if hasTurn { return }
        hasTurn = true
        let world = incarnation.world
        let delay = world.random.nanoseconds(1_000...15_000)
        if onThreads {
            world.add(after: delay, on: incarnation, .begin(.loop) { [self] in tick() })
        } else {
            world.add(after: delay, on: incarnation, .call { [self] in tick() })
        }
    }

    private func tick() {
        hasTurn = false
        var now: [() -> Void] = []
        swap(&now, &tasks)
        for task in now { task() }
    }
}
