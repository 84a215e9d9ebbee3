import Cluster
import Messages
import Platform
import Primitives
import Repair

/// Performs the effects of a repair session: sends its requests, keeps its progress, wakes it in time.
///
/// SAFETY: `@unchecked Sendable` because everything but `report` is touched on loop 0 only.
final class RepairRun: @unchecked Sendable {
    /// Fulfilled when the session has finished and its progress is on the disk.
    let report = Promise<RepairReport>()
    private var session: RepairSession
    private let metadata: MetadataStore
    private let driver: LoopDriver
    private let network: any Network
    private let background: any Background
    private let time: any TimeSource
    private let keep: @Sendable (RepairProgress) -> Void
    private var timerAt = Int64.max
    /// When progress was kept last, in monotonic microseconds.
    private var keptAt: Int64 = 0

    /// Progress is kept at most once in so many microseconds.
    private static let keepInterval: Int64 = 1_000_000

    /// - Parameters:
    ///   - driver: that of loop 0.
    ///   - keep: writes progress to the disk; called on background threads.
    init(
        _ session: RepairSession, metadata: MetadataStore, driver: LoopDriver, network: any Network,
        background: any Background, time: any TimeSource, keep: @escaping @Sendable (RepairProgress) -> Void
    ) {
        self.session = session
        self.metadata = metadata
        self.driver = driver
        self.network = network
        self.background = background
        self.time = time
        self.keep = keep
    }

    func begin() { handle(.begin) }

    private func handle(_ event: RepairEvent) {
        if session.isFinished { return }
        let effects = session.handle(event, now: time.monotonicMicroseconds())
        for effect in effects {
            switch effect {
            case .send(let number, let node, let request, let timeout): send(request, number, to: node, timeout)
            case .progress(let progress):
                let now = time.monotonicMicroseconds()
                guard now - keptAt > RepairRun.keepInterval else { break }
                keptAt = now
                background.run(.control) { [keep] in keep(progress) }
            case .finished(let report): end(report)
            }
        }
        setTimer()
    }

    private func send(_ request: PeerRequest, _ number: UInt64, to node: UUID, _ timeout: Int64) {
        guard let endpoint = metadata.endpoint(of: node) else {
            return answer(number, .failed(.connectionLost, "\(node) is no longer a member"))
        }
        driver.ask(request, at: endpoint, wanted: node, timeout: timeout) { [self] reply in answer(number, reply) }
    }

    /// Gives the session a reply in a turn of its own: it may be there before all effects have been performed.
    private func answer(_ number: UInt64, _ reply: PeerReply) {
        network.onLoop(0) { [self] in handle(.reply(request: number, reply)) }
    }

    private func setTimer() {
        guard !session.isFinished, let next = session.nextDeadline, next < timerAt else { return }
        timerAt = next
        let wait = UInt64(max(0, next - time.monotonicMicroseconds()))
        network.schedule(loop: 0, nanoseconds: wait * 1000 + 1_000_000) { [self] in
            if timerAt != next { return }
            timerAt = .max
            handle(.tick)
        }
    }

    private func end(_ found: RepairReport) {
        let progress = session.progress
        background.run(.control) { [self] in
            keep(progress)
            report.fulfil(found)
        }
    }
}
