import Primitives

/// What a run is asked to do.
public struct SimulationOptions: Sendable {
    public var seed: UInt64 = 1
    public var nodes = 5
    /// Simulated time under faults.
    public var seconds = 60
    public var faults = FaultKind.usual
    public var clients = 6
    /// Names of workloads; all when empty.
    public var workloads: [String] = []
    public var detail = SimulationLog.Detail.story

    public init() {}
}

/// What came of a run.
public struct SimulationResult: Sendable {
    public var seed: UInt64
    public var violations: [Violation]
    public var requests: Int
    public var unknown: Int
    public var faults: Int
    public var starts: Int
    public var events: Int
    public var seconds: UInt64
    public var fingerprint: UInt64

    public var summary: String {
        "\(requests) requests, \(unknown) of unknown outcome, \(faults) faults, \(starts) starts, \(events) events in \(seconds) s, "
            + "fingerprint \(String(fingerprint, radix: 16))"
    }
}

/// One run of a cluster, from a seed.
///
/// 1. All nodes start, and the workloads' tables are made.
/// 2. Clients work while things go wrong.
/// 3. Everything heals: all nodes must be up and answer within `progressLimit`.
/// 4. The clients stop, and the workloads check what is left.
///
/// It ends at the first violation. SAFETY: `@unchecked Sendable` because it belongs to a world, of which one thread runs at a time.
public final class Simulation: @unchecked Sendable {
    /// Nodes that are one cluster, and what is done to them.
    private struct Group {
        let nodes: [SimulatedNode]
        let workloads: [any Workload]
    }

    private let options: SimulationOptions
    public let world: SimulatedWorld
    private let cluster: SimulatedCluster
    private let nemesis: Nemesis
    private let groups: [Group]
    private var violations: [Violation] = []
    private var clientsRunning = 0
    private var clientsStop = false
    private var requests = 0
    private var unknown = 0

    /// How long nodes may take to start and answer when nothing goes wrong.
    static let progressLimit = 300 * Nanoseconds.second

    /// - Parameter write: takes the lines of the log.
    public init(_ options: SimulationOptions, write: @escaping (String) -> Void) {
        self.options = options
        world = SimulatedWorld(seed: options.seed, log: SimulationLog(detail: options.detail, write: write))
        cluster = SimulatedCluster(world: world, nodeCount: options.nodes)
        nemesis = Nemesis(cluster: cluster, kinds: options.faults)
        let members = SimulatedCluster.isCluster ? [cluster.nodes] : cluster.nodes.map { [$0] }
        groups = members.map { Group(nodes: $0, workloads: Simulation.workloads(options)) }
    }

    /// Names of all workloads.
    public static var workloadNames: [String] { workloads(SimulationOptions()).map(\.name) }

    private static func workloads(_ options: SimulationOptions) -> [any Workload] {
        let all: [any Workload] = [
            RegisterWorkload(clients: options.clients), TransactionWorkload(), CounterWorkload(), BatchWorkload(),
            DeletionWorkload(clients: options.clients), SchemaWorkload(clients: options.clients),
        ]
        return options.workloads.isEmpty ? all : all.filter { options.workloads.contains($0.name) }
    }

    /// Runs it to its end.
    public func run() -> SimulationResult {
        phases()
        for group in groups { for workload in group.workloads { violations += workload.violations } }
        world.end()
        return SimulationResult(
            seed: options.seed, violations: violations, requests: requests, unknown: unknown, faults: nemesis.faultCount,
            starts: cluster.nodes.reduce(0) { $0 + $1.starts }, events: world.eventCount, seconds: world.now / Nanoseconds.second,
            fingerprint: world.log.fingerprint)
    }

    private var isViolated: Bool { !violations.isEmpty || groups.contains { $0.workloads.contains { !$0.violations.isEmpty } } }

    private func phases() {
        world.tell("seed \(options.seed): \(options.nodes) nodes start")
        for node in cluster.nodes {
            world.after(world.random.nanoseconds(0...2 * Nanoseconds.second)) { node.start() }
        }
        guard awaitNodes("the first start") else { return }
        guard inAllGroups("making the tables", { self.makeTables($0, $1) }) else { return }
        world.tell("load: \(options.clients) clients a cluster, faults \(options.faults.map(\.rawValue).joined(separator: ","))")
        startClients()
        nemesis.begin()
        world.run(atMost: UInt64(options.seconds) * Nanoseconds.second) { self.isViolated }
        if isViolated { return }
        nemesis.heal()
        guard awaitNodes("everything healed") else { return }
        seeToFailedDisks()
        guard awaitNodes("failed disks were seen to") else { return }
        world.run(atMost: 5 * Nanoseconds.second) { self.isViolated }
        clientsStop = true
        guard world.run(atMost: Simulation.progressLimit, until: { self.clientsRunning == 0 || self.isViolated }) else {
            violations.append(Violation("clients hang: \(clientsRunning) of them still wait"))
            return
        }
        if isViolated { return }
        world.tell("progress: every node must take writes")
        guard inAllGroups("progress", { self.progress($0, $1) }) else { return }
        world.tell("checks")
        _ = inAllGroups("the checks", limit: 7200 * Nanoseconds.second) { self.check($0, $1) }
    }

    /// Runs until all nodes are up.
    private func awaitNodes(_ after: String) -> Bool {
        let isUp = world.run(atMost: Simulation.progressLimit) { self.isViolated || self.cluster.nodes.allSatisfy { $0.state == .up } }
        if isViolated { return false }
        if !isUp {
            for node in cluster.nodes where node.state != .up {
                violations.append(
                    Violation(
                        "\(node.name) is not up \(Simulation.progressLimit / Nanoseconds.second) s after \(after)",
                        history: ["it is \(node.state)"] + (node.startFailure.map { [$0] } ?? [])))
            }
        }
        return isUp
    }

    /// Starts nodes again whose storage says that it needs it.
    private func seeToFailedDisks() {
        world.run(atMost: 15 * Nanoseconds.second) { self.isViolated }
        for node in cluster.nodes {
            guard let server = node.server, let failure = server.storage.failure else { continue }
            world.tell("\(node.name): is started again, for it says: \(failure)")
            node.kill(losesPower: false)
            node.start()
        }
    }

    /// Runs a client's work in each cluster, until all of it is done.
    private func inAllGroups(
        _ what: String, limit: UInt64 = Simulation.progressLimit, _ work: @escaping (Group, ClientSession) -> Void
    ) -> Bool {
        var left = groups.count
        for (index, group) in groups.enumerated() {
            let session = cluster.session(1000 + index, nodes: group.nodes)
            cluster.run {
                work(group, session)
                session.close()
                left -= 1
            }
        }
        let isDone = world.run(atMost: limit) { left == 0 || !self.violations.isEmpty }
        if !isDone { violations.append(Violation("\(what) took longer than \(limit / Nanoseconds.second) s of simulated time")) }
        return !isViolated
    }

    private func makeTables(_ group: Group, _ session: ClientSession) {
        let keyspace =
            "CREATE KEYSPACE IF NOT EXISTS sim WITH replication = {'class': 'SimpleStrategy', 'replication_factor': \(min(3, group.nodes.count))}"
        for statement in [keyspace] + group.workloads.flatMap({ $0.tables }) {
            while true {
                let reply = session.run(statement, "ONE", node: 0)
                if reply.isDone { break }
                if reply.isMeaningless {
                    violations.append(Violation("a table cannot be made: \(statement)", history: [reply.text]))
                    return
                }
                session.sleep(500 * Nanoseconds.millisecond)
            }
        }
    }

    private func startClients() {
        for group in groups {
            for number in 0..<options.clients {
                clientsRunning += 1
                let session = cluster.session(number, nodes: group.nodes)
                session.moveOn()
                session.timeout = world.random.nanoseconds(3 * Nanoseconds.second...14 * Nanoseconds.second)
                cluster.run { [self] in
                    while !clientsStop && !isViolated {
                        let workload = world.random.pick(group.workloads)
                        workload.step(session)
                        if world.random.happens(0.05) { session.moveOn() }
                        session.sleep(world.random.nanoseconds(Nanoseconds.millisecond...150 * Nanoseconds.millisecond))
                    }
                    requests += session.requests
                    unknown += session.unknown
                    session.close()
                    clientsRunning -= 1
                }
            }
        }
    }

    private func progress(_ group: Group, _ session: ClientSession) {
        while !session.run("CREATE TABLE IF NOT EXISTS sim.progress (k int PRIMARY KEY, v int)", "ONE", node: 0).isDone {
            session.sleep(500 * Nanoseconds.millisecond)
        }
        for node in group.nodes.indices {
            while !session.run("INSERT INTO sim.progress (k, v) VALUES (\(node), \(node))", "ALL", node: node).isDone {
                session.sleep(500 * Nanoseconds.millisecond)
            }
        }
    }

    private func check(_ group: Group, _ session: ClientSession) {
        for workload in group.workloads {
            let readers = FinalReaders(session: session, patience: 120 * Nanoseconds.second)
            workload.finish(session, readers)
            violations += readers.violations
            world.trace("checked \(workload.name)")
        }
    }
}
