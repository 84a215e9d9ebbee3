import Cluster
import Coordinator
import DataModel
import Messages
import Primitives
import Query
import Replica
import Storage

/// The port of a request of a node that is alone.
extension LocalReplica: ReplicaPort {}

/// Makes what clients' requests read and write through when other nodes hold replicas too.
final class RequestPorts: Sendable {
    private let drivers: [LoopDriver]
    private let replica: LocalReplica
    private let storage: StorageEngine
    private let clock: HybridClock
    /// Microseconds.
    private let contentionTimeout: Int64

    init(
        configuration: NodeConfiguration, drivers: [LoopDriver], replica: LocalReplica, storage: StorageEngine,
        clock: HybridClock
    ) {
        self.drivers = drivers
        self.replica = replica
        self.storage = storage
        self.clock = clock
        contentionTimeout = configuration.casContentionTimeout.microseconds
    }

    /// What a request reads and writes through; nil when this node is alone. On the loop.
    /// - Parameter context: of the request's fiber.
    @inline(__always) func port(
        _ options: Query.QueryOptions, loop: Int, context: RequestContext
    ) -> (any ReplicaPort)? {
        let driver = drivers[loop]
        guard let view = driver.view, !view.isSingle else { return nil }
        return coordinatedRequest(options, driver, view, context)
    }

    private func coordinatedRequest(
        _ options: Query.QueryOptions, _ driver: LoopDriver, _ view: ClusterView, _ context: RequestContext
    ) -> CoordinatedRequest {
        let seconds = UInt32(clamping: clock.nowMicroseconds / 1_000_000)
        if let kept = context.port {
            kept.reuse(
                cluster: view, consistency: options.consistency, serial: options.serialConsistency,
                pageRows: options.pageSize, nowSeconds: seconds)
            return kept
        }
        let storage = storage
        let made = CoordinatedRequest(
            cluster: view, local: replica, runner: driver, consistency: options.consistency,
            serial: options.serialConsistency, pageRows: options.pageSize, contentionTimeout: contentionTimeout,
            gcGrace: { table in storage.table(table)?.options.gcGraceSeconds ?? 864_000 }, nowSeconds: seconds)
        context.port = made
        return made
    }
}
