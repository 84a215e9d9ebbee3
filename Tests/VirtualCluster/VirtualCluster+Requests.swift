import Cluster
import Coordinator
import DataModel
import Messages
import Platform
import Primitives

/// Runs the steps of one request on the coordinator of its node.
private final class VirtualRunner: StepRunner {
    let cluster: VirtualCluster
    let node: Int
    let consistency: Consistency
    let serial: Consistency
    var crash: () -> Void = {}

    init(_ cluster: VirtualCluster, node: Int, consistency: Consistency, serial: Consistency) {
        self.cluster = cluster
        self.node = node
        self.consistency = consistency
        self.serial = serial
    }

    var view: ClusterView? { cluster.view(node) }
    var now: Int64 { cluster.time.now }

    func takeTurn(_ key: PaxosKey) -> PartitionTurn { PartitionTurns().take(key) {}.turn }

    func rest(attempt: Int) { Fiber.current?.sleep(nanoseconds: UInt64(cluster.pick(1...100) * 1000)) }

    func start(_ started: StartedStep, for request: CoordinatedRequest) {
        do throws(ServerError) {
            try cluster.begin(on: node) { (coordinator, _, now) throws(ServerError) in
                switch started.step {
                case .write(let bytes, let type):
                    try coordinator.write(
                        bytes, consistency: consistency, type: type, cluster: request.cluster, now: now)
                case .count(let bytes):
                    try coordinator.count(bytes, consistency: consistency, cluster: request.cluster, now: now)
                case .read(let command, let level, let isByKey):
                    coordinator.read(command, consistency: level, cluster: request.cluster, isByKey: isByKey, now: now)
                case .prepare(let key, let reading, let deadline):
                    try coordinator.prepare(
                        key, reading: reading, serial: serial, cluster: request.cluster, deadline: deadline, now: now)
                case .propose(let key, let ballot, let value, let deadline):
                    try coordinator.propose(
                        key, ballot: ballot, value: value, serial: serial, commit: consistency,
                        cluster: request.cluster,
                        deadline: deadline, now: now)
                }
            } then: { [self] result in
                guard let result else { return crash() }
                started.finish(result)
            }
        } catch { started.finish(.failure(error)) }
    }

    func finish(_ started: StartedStep, for request: CoordinatedRequest) throws(ServerError) -> Outcome {
        if started.result == nil {
            guard let fiber = Fiber.current else { preconditionFailure("a request waits outside a fiber") }
            started.resume = { fiber.resume() }
            fiber.suspend()
        }
        guard let result = started.takeResult() else { preconditionFailure("resumed without a result") }
        return try result.get()
    }
}

/// The loop and the background threads of the requests, on the cluster's time.
private struct VirtualLoops: EventLoops, Background {
    // SAFETY: all of a virtual cluster runs on one thread.
    nonisolated(unsafe) let cluster: VirtualCluster
    func onLoop(_ loop: Int, _ work: @escaping @Sendable () -> Void) { cluster.at(cluster.time.now, work) }
    func schedule(loop: Int, nanoseconds: UInt64, _ work: @escaping @Sendable () -> Void) {
        cluster.at(cluster.time.now + Int64(nanoseconds / 1000), work)
    }
    func run(_ kind: BackgroundKind, _ work: @escaping @Sendable () -> Void) {
        cluster.at(cluster.time.now + cluster.pick(1...50), work)
    }
    func sleep(nanoseconds: UInt64) { Fiber.current?.sleep(nanoseconds: nanoseconds) }
}

extension VirtualCluster {
    func makeFibers() -> FiberPool {
        let loops = VirtualLoops(cluster: self)
        return FiberPool(
            loop: 0, network: loops, background: loops, time: ManualTime(), limit: 1 << 20,
            makeAttachment: makeAttachment)
    }

    /// Runs a request through a `CoordinatedRequest` on a fiber.
    /// - Parameter then: receives the result, or nil when the node crashes first.
    package func request<T>(
        on node: Int, _ consistency: Consistency, serial: Consistency = .serial, pageRows: Int = 0,
        contentionTimeout: Int64 = 1_800_000,
        gcGrace: @escaping @Sendable (UUID) -> UInt32 = { _ in 864_000 },
        _ body: @escaping (CoordinatedRequest) throws(ReplicaError) -> T,
        then: @escaping (Result<T, ServerError>?) -> Void
    ) {
        let runner = VirtualRunner(self, node: node, consistency: consistency, serial: serial)
        let request = CoordinatedRequest(
            cluster: view(node), local: ModelPort(nodes[node]), runner: runner, consistency: consistency,
            serial: serial,
            pageRows: pageRows, contentionTimeout: contentionTimeout, gcGrace: gcGrace,
            nowSeconds: UInt32(nodes[node].clock.nowMicroseconds / 1_000_000))
        var hasCrashed = false
        runner.crash = {
            if hasCrashed { return }
            hasCrashed = true
            then(nil)
        }
        let turn = fibers.run { [self] in
            do throws(ReplicaError) {
                let value = try body(request)
                then(.success(value))
            } catch {
                guard case .server(let error) = error else { preconditionFailure("seed \(seed): \(error)") }
                then(.failure(error))
            }
        }
        precondition(turn != .refused, "no fiber is free")
    }

    /// Runs a request until it has its result.
    /// - Returns: nil when the node crashed, or nothing is left to happen.
    package func wait<T>(
        on node: Int, _ consistency: Consistency, serial: Consistency = .serial, pageRows: Int = 0,
        gcGrace: @escaping @Sendable (UUID) -> UInt32 = { _ in 864_000 },
        _ body: @escaping (CoordinatedRequest) throws(ReplicaError) -> T
    ) -> Result<T, ServerError>? {
        var result: Result<T, ServerError>?
        var isDone = false
        request(on: node, consistency, serial: serial, pageRows: pageRows, gcGrace: gcGrace, body) {
            result = $0
            isDone = true
        }
        run { !isDone }
        return result
    }
}
