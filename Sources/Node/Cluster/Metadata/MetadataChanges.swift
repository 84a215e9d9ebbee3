import Cluster
import Coordinator
import DataModel
import Messages
import Platform
import Primitives
import Query
import Synchronization

/// Makes this node's changes of the metadata, one at a time, in the order in which they were asked for.
///
/// 1. Where this node is the only voter it decides alone (`MetadataStore.changeAlone`).
/// 2. Otherwise the coordinator of loop 0 has a majority of the members choose the next version; the versions it
///    learned are installed here before the change counts as made.
///
/// **Thread safety**: all methods, on background threads, which they block.
/// SAFETY: `@unchecked Sendable` because `waiting` and `isBusy` are touched on loop 0 only.
final class MetadataChanges: @unchecked Sendable {
    /// The next version from the present one; nil when there is nothing to change. May be called more than once.
    typealias Step = @Sendable (ClusterMetadata) throws(ServerError) -> ClusterMetadata?

    private struct Waiting {
        let step: Step
        let outcome: Promise<Result<Void, ServerError>>
    }

    private let local: LocalNode
    private let metadata: MetadataStore
    private let views: ClusterViews
    private let driver: LoopDriver
    private let network: any Network
    private let background: any Background
    private let log: OperatorLog
    private var waiting: [Waiting] = []
    private var isBusy = false

    /// How long a change may take, in microseconds.
    static let timeout: Int64 = 10_000_000
    /// The most changes that wait; more are refused.
    private static let limit = 1000

    /// - Parameter driver: that of loop 0.
    init(
        local: LocalNode, metadata: MetadataStore, views: ClusterViews, driver: LoopDriver, network: any Network,
        background: any Background, log: OperatorLog
    ) {
        self.local = local
        self.metadata = metadata
        self.views = views
        self.driver = driver
        self.network = network
        self.background = background
        self.log = log
    }

    /// Makes a change of the metadata, in one order with those of all other nodes; waits until it is in force here.
    func change(_ step: @escaping Step) throws(ServerError) {
        if try metadata.changeAlone(local.hostID, step) { return }
        let outcome = Promise<Result<Void, ServerError>>()
        network.onLoop(0) { [self] in
            guard waiting.count < MetadataChanges.limit else {
                return outcome.fulfil(
                    .failure(
                        ServerError(
                            .overloaded, "too many changes of the schema are waiting; slow down and try again")))
            }
            waiting.append(Waiting(step: step, outcome: outcome))
            beginNext()
        }
        try outcome.wait(on: background).get()
    }

    /// Begins the change that has waited longest, unless one is under way; on loop 0.
    private func beginNext() {
        guard !isBusy, !waiting.isEmpty else { return }
        let next = waiting.removeFirst()
        guard let base = metadata.current, let view = views.current else {
            next.outcome.fulfil(.failure(ServerError(.isBootstrapping, "this node has not joined its cluster yet")))
            return beginNext()
        }
        isBusy = true
        let learned = LearnedVersions()
        driver.run({ [driver] coordinator in
            coordinator.changeMetadata(
                base: base, cluster: view, timeout: MetadataChanges.timeout, now: driver.now,
                learned: { value in learned.add(value) }, change: next.step)
        }) { [self] result in
            let chosen = result.map { _ in () }
            background.run(.control) { [self] in
                let outcome = install(learned.all, chosen)
                network.onLoop(0) { [self] in
                    isBusy = false
                    next.outcome.fulfil(outcome)
                    beginNext()
                }
            }
        }
    }

    /// Installs the versions that a change learned.
    /// - Returns: the outcome of the change: a failure also when its version was chosen and cannot be installed here.
    private func install(
        _ versions: [[UInt8]], _ chosen: Result<Void, ServerError>
    ) -> Result<Void, ServerError> {
        var outcome = chosen
        for value in versions {
            do { try metadata.install(value) } catch {
                // The version is chosen all the same; this node fetches it when it can.
                log.report("a version of the metadata cannot be installed: \(error)", level: .error)
                if case .success = outcome {
                    outcome = .failure(
                        ServerError(.serverError, "the change was made, but this node cannot install it: \(error)"))
                }
            }
        }
        return outcome
    }

    /// The versions that one change learned, oldest first.
    private final class LearnedVersions: Sendable {
        private let values = Mutex<[[UInt8]]>([])
        var all: [[UInt8]] { values.withLock { $0 } }
        func add(_ value: [UInt8]) { values.withLock { $0.append(value) } }
    }
}
