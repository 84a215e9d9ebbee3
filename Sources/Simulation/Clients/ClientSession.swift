/// A workload's access to the cluster: it runs statements through a node and provides time and randomness.
///
/// SAFETY: `@unchecked Sendable` because it belongs to a world, which one thread runs.
public final class ClientSession: @unchecked Sendable {
    public let number: Int
    let world: SimulatedWorld
    private let clients: [LineClient]
    private let names: [String]
    /// Returns the indexes of the nodes that are present now.
    private let serving: () -> [Int]
    private var current = 0
    private(set) var requests = 0
    /// The number of requests with unknown outcome.
    private(set) var unknown = 0
    /// How long to wait for an answer.
    var timeout = 12 * Nanoseconds.second

    init(number: Int, world: SimulatedWorld, clients: [LineClient], names: [String], serving: @escaping () -> [Int]) {
        self.number = number
        self.world = world
        self.clients = clients
        self.names = names
        self.serving = serving
    }

    /// The number of nodes present; `run` takes numbers below it.
    var nodeCount: Int { serving().count }
    func name(of node: Int) -> String {
        let serving = serving()
        return node < serving.count ? names[serving[node]] : "a node that has left"
    }
    var now: UInt64 { world.now }

    /// Switches to another node, chosen at random.
    func switchNode() { current = world.random.pick(serving()) }

    /// Runs a statement through the current node, or through the given one of the nodes present.
    /// - Parameter page: the page size in rows, where the answer has the rows of all pages; 0 turns paging off.
    func run(_ statement: String, _ consistency: String = "QUORUM", node: Int? = nil, page: Int = 0) -> LineReply {
        let present = serving()
        let index = node.map { present[min($0, present.count - 1)] } ?? current
        let called = world.now
        let reply = clients[index].run(statement, consistency: consistency, page: page, timeout: timeout)
        requests += 1
        if case .unknown = reply { unknown += 1 }
        world.trace(
            "client \(number) through \(names[index]) \(consistency) \(statement)\(page > 0 ? " in pages of \(page)" : "") -> \(reply.text) "
                + "(called \(SimulationLog.seconds(called).drop { $0 == " " }))")
        // After a failure or a timeout, usually try another node.
        if node == nil && !reply.isDone && world.random.happens(0.7) { switchNode() }
        return reply
    }

    func sleep(_ nanoseconds: UInt64) { world.sleep(nanoseconds) }

    /// Closes all connections.
    func close() { for client in clients { client.close() } }
}
