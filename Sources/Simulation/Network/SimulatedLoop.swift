import Platform

/// One simulated event loop: runs its tasks in order. At the end of a tick it flushes the commit log once, then sends
/// the output of all connections that have some.
///
/// A tick runs all tasks that are waiting when the loop gets its turn.
///
/// SAFETY: `@unchecked Sendable`, see `SimulatedNetwork`.
final class SimulatedLoop: @unchecked Sendable {
    let index: Int
    private let incarnation: Incarnation
    private let onThreads: Bool
    private var tasks: [() -> Void] = []
    private var hasTurn = false
    private var ready: [SimulatedConnection] = []
    /// Work that runs after the tick's writes are safe.
    private var waiting: [@Sendable (String?) -> Void] = []
    private var waitingAcknowledgement: (any Acknowledgement)?
    private var endIsQueued = false
    /// `Acknowledgement.mark` at the end of the last tick.
    private var lastMark: UInt64 = 0

    init(index: Int, incarnation: Incarnation, onThreads: Bool) {
        self.index = index
        self.incarnation = incarnation
        self.onThreads = onThreads
    }

    /// Runs `work` in the next tick, after earlier tasks.
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

    /// Schedules the connection's output for after the events that the loop is handling now.
    func add(_ connection: SimulatedConnection) {
        ready.append(connection)
        queueEnd()
    }

    func whenSafe(_ acknowledgement: any Acknowledgement, _ work: @escaping @Sendable (String?) -> Void) {
        waiting.append(work)
        waitingAcknowledgement = acknowledgement
        queueEnd()
    }

    private func queueEnd() {
        if endIsQueued { return }
        endIsQueued = true
        execute { [self] in end() }
    }

    private func end() {
        endIsQueued = false
        var connections: [SimulatedConnection] = []
        swap(&connections, &ready)
        var works: [@Sendable (String?) -> Void] = []
        swap(&works, &waiting)
        // Outgoing connections acknowledge nothing, so they do not wait for the flush.
        for connection in connections where connection.acknowledgement == nil { connection.send(failure: nil) }
        connections.removeAll { $0.acknowledgement == nil }
        guard let acknowledgement = waitingAcknowledgement ?? connections.first?.acknowledgement else { return }
        waitingAcknowledgement = nil
        let mark = acknowledgement.mark
        var failure = acknowledgement.flush()
        // Without new writes a failed flush does not matter: reads continue while the disk accepts no writes.
        if mark == lastMark { failure = nil }
        lastMark = mark
        if failure == nil && acknowledgement.needsSync {
            let held = connections.map { ($0, $0.hold()) }
            let waited = works
            acknowledgement.sync { failure in
                self.execute {
                    for (connection, ticket) in held { connection.release(ticket, failure: failure) }
                    for work in waited { work(failure) }
                }
            }
            return
        }
        for connection in connections { connection.send(failure: failure) }
        for work in works { work(failure) }
    }
}
