import Node

/// The nodes of a cluster, the clients' machine, and the network between them.
///
/// SAFETY: `@unchecked Sendable` because it belongs to a world, which one thread runs.
final class SimulatedCluster: @unchecked Sendable {
    let world: SimulatedWorld
    let fabric: NetworkFabric
    let nodes: [SimulatedNode]
    let clientMachine: Machine
    let clientNetwork: SimulatedNetwork
    /// The process on which the clients' fibers run.
    let clientIncarnation: Incarnation
    /// Whether every write the clients check was synced before it was acknowledged.
    let survivesPowerLoss: Bool
    /// The replication factor.
    let replicas: Int

    static let linePort = 9043
    static let storagePort = 7000

    /// - Parameters:
    ///   - spares: the number of machines that run no node at first.
    ///   - settings: settings of all nodes as `key=value`; the seed chooses the others.
    ///   - needsSyncedLog: whether the clients check writes that some sync modes acknowledge before they are synced.
    init(world: SimulatedWorld, nodeCount: Int, spares: Int, settings: [String], needsSyncedLog: Bool) {
        self.world = world
        let fabric = NetworkFabric(world: world)
        self.fabric = fabric
        let mode = world.random.pick(["batch", "batch", "group", "periodic"])
        replicas = min(3, nodeCount)
        let machines = (1...nodeCount + spares).map { Machine(index: $0, address: "127.0.0.\($0)", world: world) }
        let clients = Machine(index: 0, address: "127.0.1.1", world: world)
        for machine in machines + [clients] { fabric.add(machine) }
        clientMachine = clients
        clientIncarnation = clients.begin()
        clientNetwork = SimulatedNetwork(fabric: fabric, incarnation: clientIncarnation, loops: 1, onThreads: false)
        var common = [
            "data_directory=\(SimulatedNode.dataDirectory)", "cluster_name=simulated", "loops=2",
            "commitlog_sync=\(mode)",
            "commitlog_segment_size=\(world.random.pick(["1MiB", "2MiB"]))",
            "commitlog_total_space=\(world.random.pick(["8MiB", "16MiB"]))",
            "max_mutation_size=256KiB", "memtable_space=\(world.random.pick(["1MiB", "2MiB", "8MiB"]))",
            "cache_space=\(world.random.pick(["0", "1MiB"]))", "line_port=\(SimulatedCluster.linePort)",
            "native_transport_port=9042",
            "http_port=9180",
            // Simulated time passes quickly, so slow queries would flood standard error.
            "slow_query_log_timeout=1h",
            "compaction_throughput=\(world.random.pick(["0", "1MiB/s"]))",
            // Without hints, repair has differences to find.
            "hinted_handoff_enabled=\(world.random.pick(["true", "true", "true", "false"]))",
        ]
        for setting in settings {
            let key = setting.prefix { $0 != "=" } + "="
            common.removeAll { $0.hasPrefix(key) }
            common.append(setting)
        }
        survivesPowerLoss = !common.contains("commitlog_sync=periodic") || !needsSyncedLog
        world.tell("settings: " + common.joined(separator: " "))
        common.append("storage_port=\(SimulatedCluster.storagePort)")
        let seeds = SimulatedCluster.seeds(Array(machines.prefix(min(2, nodeCount))))
        nodes = machines.map { machine in
            SimulatedNode(
                machine: machine, fabric: fabric,
                settings: common + ["listen_address=\(machine.address)", "http_address=\(machine.address)"],
                ownSettings: machine.index <= nodeCount ? [seeds] : nil)
        }
    }

    /// Nodes that are members or are becoming members.
    var members: [SimulatedNode] { nodes.filter { $0.role == .member } }
    /// Nodes whose machine is assigned to a node, running or not.
    var present: [SimulatedNode] { nodes.filter { $0.role != .vacant } }

    /// Returns the setting that names machines as seeds.
    static func seeds(_ machines: [Machine]) -> String {
        "seeds=" + machines.map { "\($0.address):\(SimulatedCluster.storagePort)" }.joined(separator: ",")
    }

    /// Runs client code on a fiber.
    func run(_ work: @escaping () -> Void) { world.add(after: 1_000, on: clientIncarnation, .begin(.background, work)) }

    /// Returns a client session that may use all nodes.
    func session(_ number: Int) -> ClientSession {
        ClientSession(
            number: number, world: world,
            clients: nodes.map {
                LineClient(network: clientNetwork, host: $0.machine.address, port: SimulatedCluster.linePort)
            },
            names: nodes.map(\.name), serving: { [nodes] in nodes.indices.filter { nodes[$0].role != .vacant } })
    }
}
