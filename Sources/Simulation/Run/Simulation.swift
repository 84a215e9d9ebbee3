import Node
import Primitives

/// The options of a simulation run.
public struct SimulationOptions: Sendable {
    public var seed: UInt64 = 1
    public var nodes = 5
    /// Simulated seconds under faults.
    public var seconds = 60
    public var faults = FaultKind.usual
    public var clients = 6
    /// Settings of the nodes as `key=value`; the seed chooses the others.
    public var settings: [String] = []
    /// Names of the workloads to run; empty means all.
    public var workloads: [String] = []
    public var detail = SimulationLog.Detail.story

    public init() {}
}

/// The result of a simulation run.
public struct SimulationResult: Sendable {
    public var seed: UInt64
    public var violations: [Violation]
    public var requests: Int
    public var unknown: Int
    public var faults: Int
    /// Changes of the members; included in `faults`.
    public var changes: Int
    public var starts: Int
    public var events: Int
    public var seconds: UInt64
    public var fingerprint: UInt64

    public var summary: String {
        "\(requests) requests, \(unknown) of unknown outcome, \(faults) faults, \(changes) changes of members, \(starts) starts, \(events) events in \(seconds) s, "
            + "fingerprint \(String(fingerprint, radix: 16))"
    }
}

/// One simulated run of a cluster, determined by a seed.
///
/// 1. All nodes start, and the workloads' tables are created.
/// 2. Clients work while faults happen.
/// 3. All faults end. All nodes must be up and serving within `progressLimit`, must see each other as alive within
///    `meetingLimit`, and the metadata must list exactly the nodes that run.
/// 4. The clients stop, every node must accept a write, and all tables are repaired. The workloads check their data
///    after the repair and, depending on the seed, also before it. After the repair all replicas must be equal.
///
/// The run ends at the first violation. SAFETY: `@unchecked Sendable` because it belongs to a world, which one thread
/// runs.
public final class Simulation: @unchecked Sendable {
    private let options: SimulationOptions
    public let world: SimulatedWorld
    private let cluster: SimulatedCluster
    private let nemesis: Nemesis
    private let workloads: [any Workload]
    private var violations: [Violation] = []
    private var clientsRunning = 0
    private var clientsStop = false
    private var isHealed = false
    private var requests = 0
    private var unknown = 0

    /// How long nodes may take to start and serve once all faults have ended.
    static let progressLimit = 300 * Nanoseconds.second
    /// How long running nodes may take to see each other as alive.
    static let meetingLimit = 20 * Nanoseconds.second
    /// How long no node may be considered down after that.
    static let quietTime = 10 * Nanoseconds.second
    /// How long a node may take to notice that its disk has failed.
    static let diskPatience = 15 * Nanoseconds.second
    /// How long a change of the members may take once all faults have ended.
    static let membersLimit = 900 * Nanoseconds.second
    /// The number of machines for joining nodes.
    static let spares = 2

    /// - Parameter write: called with each line of the log.
    public init(_ options: SimulationOptions, write: @escaping (String) -> Void) {
        self.options = options
        world = SimulatedWorld(seed: options.seed, log: SimulationLog(detail: options.detail, write: write))
        workloads = Simulation.workloads(options)
        cluster = SimulatedCluster(
            world: world, nodeCount: options.nodes, spares: options.faults.contains(.members) ? Simulation.spares : 0,
            settings: options.settings, needsSyncedLog: workloads.contains(where: \.needsSyncedLog))
        nemesis = Nemesis(cluster: cluster, kinds: options.faults)
    }

    /// The names of all workloads.
    public static var workloadNames: [String] {
        var alone = SimulationOptions()
        alone.nodes = 1
        alone.faults = []
        return workloads(alone).map(\.name)
    }

    private static func workloads(_ options: SimulationOptions) -> [any Workload] {
        let all: [any Workload] = [
            RegisterWorkload(clients: options.clients), TransactionWorkload(), CounterWorkload(), BatchWorkload(),
            SloppyWorkload(replicas: min(3, options.nodes)),
            // Purging deletions at once is only safe if a single disk holds all replicas.
            DeletionWorkload(
                clients: options.clients, forgetsAtOnce: options.nodes == 1 && !options.faults.contains(.members)),
            SchemaWorkload(clients: options.clients), TruncationWorkload(clients: options.clients),
        ]
        return options.workloads.isEmpty ? all : all.filter { options.workloads.contains($0.name) }
    }

    /// Runs the simulation to its end.
    public func run() -> SimulationResult {
        phases()
        for workload in workloads { violations += workload.violations }
        world.end()
        return SimulationResult(
            seed: options.seed, violations: violations, requests: requests, unknown: unknown,
            faults: nemesis.faultCount,
            changes: nemesis.members.count, starts: cluster.nodes.reduce(0) { $0 + $1.starts },
            events: world.eventCount,
            seconds: world.now / Nanoseconds.second, fingerprint: world.log.fingerprint)
    }

    private var isViolated: Bool { !violations.isEmpty || workloads.contains { !$0.violations.isEmpty } }

    private func phases() {
        world.tell("seed \(options.seed): \(options.nodes) nodes start")
        for node in cluster.members {
            world.after(world.random.nanoseconds(0...2 * Nanoseconds.second)) { node.start() }
        }
        guard awaitNodes("the first start") else { return }
        guard inTime("making the tables", { self.makeTables($0) }) else { return }
        world.tell("load: \(options.clients) clients, faults \(options.faults.map(\.rawValue).joined(separator: ","))")
        startClients()
        nemesis.begin()
        world.run(atMost: UInt64(options.seconds) * Nanoseconds.second) { self.isViolated }
        if isViolated { return }
        nemesis.heal()
        isHealed = true
        // A node whose commit log has failed closes its connections: others consider it down, and a change of the
        // members waits for it.
        restartFailedNodes(after: Simulation.diskPatience)
        guard awaitMembers(), awaitNodes("all faults ended"), meet() else { return }
        restartFailedNodes(after: 0)
        guard awaitNodes("nodes with failed disks were restarted") else { return }
        world.run(atMost: 5 * Nanoseconds.second) { self.isViolated }
        clientsStop = true
        guard world.run(atMost: Simulation.progressLimit, until: { self.clientsRunning == 0 || self.isViolated }) else {
            violations.append(Violation("clients hang: \(clientsRunning) of them are still waiting"))
            return
        }
        if isViolated { return }
        guard settleMembers() else { return }
        world.tell("progress: every node must take writes")
        guard inTime("progress", { self.progress($0) }) else { return }
        if world.random.happens(0.5) {
            guard checks("checks") else { return }
        }
        world.tell("repair of everything")
        guard inTime("the repair", limit: 3600 * Nanoseconds.second, { self.repair($0) }) else { return }
        _ = checks("checks after the repair", areRepaired: true)
    }

    private func checks(_ text: String, areRepaired: Bool = false) -> Bool {
        world.tell(text)
        return inTime("the checks", limit: 7200 * Nanoseconds.second) { self.check($0, areRepaired: areRepaired) }
    }

    /// Runs until all nodes are up.
    private func awaitNodes(_ after: String) -> Bool {
        let isUp = world.run(atMost: Simulation.progressLimit) {
            self.isViolated || self.cluster.members.allSatisfy { $0.state == .up }
        }
        if isViolated { return false }
        if !isUp {
            for node in cluster.members where node.state != .up {
                violations.append(
                    Violation(
                        "\(node.name) is not up \(Simulation.progressLimit / Nanoseconds.second) s after \(after)",
                        history: ["it is \(node.state)"] + (node.startFailure.map { [$0] } ?? [])))
            }
        }
        return isUp
    }

    /// Runs until the change of the members under way is complete.
    private func awaitMembers() -> Bool {
        let isDone = world.run(atMost: Simulation.membersLimit) { self.isViolated || self.nemesis.members.isIdle }
        if isViolated { return false }
        if !isDone {
            violations.append(
                Violation(
                    "a change of the members is not complete \(Simulation.membersLimit / Nanoseconds.second) s after all faults ended: "
                        + "\(nemesis.members.underWay ?? "none")",
                    history: nemesis.members.description
                        + cluster.members.compactMap { node in node.startFailure.map { "\(node.name): \($0)" } }))
        }
        return isDone
    }

    /// Runs until every member knows exactly the current members.
    private func settleMembers() -> Bool {
        let members = nemesis.members
        guard
            inTime(
                "settling the members", limit: 2 * Simulation.progressLimit,
                { _ in
                    members.settle(until: self.world.now + Simulation.progressLimit)
                })
        else { return false }
        if !members.isSettled {
            violations.append(
                Violation(
                    "the metadata does not list exactly the running nodes \(Simulation.progressLimit / Nanoseconds.second) s after all faults ended",
                    history: members.description))
        }
        return !isViolated
    }

    /// Runs until every node sees all members as alive, then for `quietTime`, in which no node may be considered down.
    private func meet() -> Bool {
        let members = cluster.members
        func strangers() -> [String] {
            members.compactMap { node in
                let dead = node.server?.deadMembers ?? []
                let names = dead.map { id in members.first { $0.hostID == id }?.name ?? "\(id)" }
                return names.isEmpty ? nil : "\(node.name) considers \(names.joined(separator: ", ")) down"
            }
        }
        var found: [String] = []
        var next: UInt64 = 0
        /// Checks ten times per simulated second.
        func know(_ isKnown: Bool) -> Bool {
            if isViolated { return true }
            guard world.now >= next else { return false }
            next = world.now + 100 * Nanoseconds.millisecond
            found = strangers()
            return found.isEmpty == isKnown
        }
        let limit = options.faults.contains(.members) ? Simulation.membersLimit : Simulation.meetingLimit
        guard world.run(atMost: limit, until: { know(true) }) else {
            violations.append(
                Violation(
                    "nodes consider others down \(limit / Nanoseconds.second) s after all faults ended", history: found)
            )
            return false
        }
        if world.run(atMost: Simulation.quietTime, until: { know(false) }), !isViolated {
            violations.append(Violation("a node is considered down after all faults ended", history: found))
        }
        return !isViolated
    }

    /// Restarts the nodes whose storage reports a failure.
    /// - Parameter patience: how long to run first, so that nodes can notice failures.
    private func restartFailedNodes(after patience: UInt64) {
        world.run(atMost: patience) { self.isViolated }
        for node in cluster.members {
            guard let server = node.server, let failure = server.storage.failure else { continue }
            world.tell("\(node.name): is restarted because its storage failed: \(failure)")
            node.kill(losesPower: false)
            node.start()
        }
    }

    /// Runs a client's work until it is done, at most for `limit`.
    private func inTime(
        _ what: String, limit: UInt64 = Simulation.progressLimit, _ work: @escaping (ClientSession) -> Void
    ) -> Bool {
        var isDone = false
        let session = cluster.session(1000)
        cluster.run {
            work(session)
            session.close()
            isDone = true
        }
        if !world.run(atMost: limit, until: { isDone || !self.violations.isEmpty }) {
            violations.append(Violation("\(what) took longer than \(limit / Nanoseconds.second) s of simulated time"))
        }
        return !isViolated
    }

    private func makeTables(_ session: ClientSession) {
        let keyspace =
            "CREATE KEYSPACE IF NOT EXISTS sim WITH replication = {'class': 'SimpleStrategy', 'replication_factor': \(cluster.replicas)}"
        for statement in [keyspace] + workloads.flatMap({ $0.tables }) {
            while true {
                let reply = session.run(statement, "ONE", node: 0)
                if reply.isDone { break }
                if reply.isInvalidRequest {
                    violations.append(Violation("a table cannot be created: \(statement)", history: [reply.text]))
                    return
                }
                session.sleep(500 * Nanoseconds.millisecond)
            }
        }
    }

    private func startClients() {
        for number in 0..<options.clients {
            clientsRunning += 1
            let session = cluster.session(number)
            session.switchNode()
            session.timeout = world.random.nanoseconds(3 * Nanoseconds.second...14 * Nanoseconds.second)
            cluster.run { [self] in
                while !clientsStop && !isViolated {
                    let workload = world.random.pick(workloads)
                    workload.step(session)
                    if world.random.happens(0.05) { session.switchNode() }
                    // Few requests after healing: enough to detect a stall.
                    let most = (isHealed ? 1500 : 150) * Nanoseconds.millisecond
                    session.sleep(world.random.nanoseconds(Nanoseconds.millisecond...most))
                }
                requests += session.requests
                unknown += session.unknown
                session.close()
                clientsRunning -= 1
            }
        }
    }

    private func progress(_ session: ClientSession) {
        while !session.run("CREATE TABLE IF NOT EXISTS sim.progress (k int PRIMARY KEY, v int)", "ONE", node: 0).isDone
        {
            session.sleep(500 * Nanoseconds.millisecond)
        }
        for node in 0..<session.nodeCount {
            while !session.run("INSERT INTO sim.progress (k, v) VALUES (\(node), \(node))", "ALL", node: node).isDone {
                session.sleep(500 * Nanoseconds.millisecond)
            }
        }
    }

    /// Repairs all tables through one node; a preview by another must find no difference.
    private func repair(_ session: ClientSession) {
        let nodes = world.random.shuffled(cluster.members)
        guard let first = nodes.first, let last = nodes.last else { return }
        guard let outcome = command("the repair", of: first, isPreview: false) else { return }
        world.tell(
            "\(first.name) has repaired: \(outcome.differing) token ranges differed, \(outcome.rowsSent) rows were sent"
        )
        guard let again = command("a second repair", of: last, isPreview: true) else { return }
        if again.differing > 0 {
            violations.append(
                Violation(
                    "replicas differ after a repair: a second one finds \(again.differing) differing token ranges"))
        }
    }

    private func command(_ what: String, of node: SimulatedNode, isPreview: Bool) -> NodeServer.RepairOutcome? {
        switch nemesis.members.command(node, { try $0.repairEverything(isPreview: isPreview) }) {
        case .success(let outcome) where outcome.isComplete: return outcome
        case .success(let outcome):
            violations.append(
                Violation("\(what) by \(node.name) is not complete", history: Array(outcome.failures.prefix(8))))
        case .failure(let error): violations.append(Violation("\(what) by \(node.name) fails: \(error)"))
        case nil: violations.append(Violation("\(what) by \(node.name) did not finish"))
        }
        return nil
    }

    private func check(_ session: ClientSession, areRepaired: Bool) {
        for workload in workloads {
            let readers = FinalReaders(session: session, patience: 120 * Nanoseconds.second, areRepaired: areRepaired)
            workload.finish(session, readers)
            violations += readers.violations
            world.trace("checked \(workload.name)")
        }
    }
}
