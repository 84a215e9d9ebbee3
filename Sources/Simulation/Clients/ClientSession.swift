/// What a workload works with: statements sent through some node, time, and chance.
///
/// SAFETY: `@unchecked Sendable` because it belongs to a world, of which one thread runs at a time.
public final class ClientSession: @unchecked Sendable {
    public let number: Int
    let world: SimulatedWorld
    private let clients: [LineClient]
    private let names: [String]
    private var current = 0
    private(set) var requests = 0
    /// Requests of unknown outcome.
    private(set) var unknown = 0
    /// Longest wait for an answer.
    var timeout = 12 * Nanoseconds.second

    init(number: Int, world: SimulatedWorld, clients: [LineClient], names: [String]) {
        self.number = number
        self.world = world
        self.clients = clients
        self.names = names
    }

    var nodeCount: Int { clients.count }
    var now: UInt64 { world.now }

    /// Goes on through another node, chosen at random.
    func moveOn() { current = world.random.int(0...clients.count - 1) }

    /// Runs a statement through the node of the moment, or that one.
    func run(_ statement: String, _ consistency: String = "QUORUM", node: Int? = nil) -> LineReply {
        let index = node ?? current
        let called = world.now
        let reply = clients[index].run(statement, consistency: consistency, timeout: timeout)
        requests += 1
        if case .unknown = reply { unknown += 1 }
        world.trace(
            "client \(number) through \(names[index]) \(consistency) \(statement) -> \(reply.text) "
                + "(called \(SimulationLog.seconds(called).drop { $0 == " " }))")
        // Who is turned away, or hears nothing, tries another.
        if node == nil && !reply.isDone && world.random.happens(0.7) { moveOn() }
        return reply
    }

    func sleep(_ nanoseconds: UInt64) { world.sleep(nanoseconds) }

    /// Ends all connections.
    func close() { for client in clients { client.close() } }
}
