import Logging
import Platform
import Primitives
import Synchronization
import Testing

@testable import Node

/// A node over files in memory, with connections that the test uses directly.
@Suite struct NodeServerTests {
    private static let silent = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

    /// A network whose connections run everything synchronously.
    final class DirectNetwork: Network {
        typealias Make = @Sendable (any Connection) -> any ConnectionHandler
        private struct Bound: Listener {
            let port: Int
            func close() {}
        }
        let makers = Mutex<[Make]>([])
        var loops: Int { 1 }
        func stop() {}
        func connect(host: String, port: Int, loop: Int, _ makeHandler: @escaping Make) {}
        private let tasks = Mutex<[@Sendable () -> Void]>([])

        /// Runs work at once, and later what a fiber leaves: that must wait first.
        func onLoop(_ loop: Int, _ work: @escaping @Sendable () -> Void) {
            if Fiber.isRunning { tasks.withLock { $0.append(work) } } else { work() }
        }
        func schedule(loop: Int, nanoseconds: UInt64, _ work: @escaping @Sendable () -> Void) {}

        /// Runs what fibers have left.
        func drain() {
            while let task = tasks.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) { task() }
        }
        func whenSafe(
            loop: Int, _ acknowledgement: any Acknowledgement, _ waiter: any SafetyWaiter, token: UInt64
        ) {
            waiter.writesAreSafe(token, failure: acknowledgement.flush())
        }

        func listen(
            host: String, port: Int, acknowledgement: (any Acknowledgement)?, _ makeHandler: @escaping Make
        ) throws(NetworkError) -> any Listener {
            Bound(
                port: makers.withLock { makers in
                    makers.append(makeHandler)
                    return makers.count
                })
        }

        /// Returns a client of the line protocol, the second port.
        func lineClient() -> Client { Client(makers.withLock { $0[1] }, self) }
    }

    /// SAFETY: `@unchecked Sendable` because a test uses it on one thread.
    final class Client: Connection, @unchecked Sendable {
        let peer = "test"
        let loop = 0
        private var handler: (any ConnectionHandler)?
        private(set) var isClosed = false

        private let network: DirectNetwork

        init(_ make: DirectNetwork.Make, _ network: DirectNetwork) {
            self.network = network
            handler = make(self)
        }

        func onLoop(_ work: @escaping @Sendable () -> Void) { work() }
        func markReady() {}
        func resumeInput() {}
        func closeAfterOutput() {
            isClosed = true
            handler?.closed()
        }

        func ask(_ line: String) -> String {
            _ = Array((line + "\n").utf8).withUnsafeBytes { handler?.receive($0) }
            network.drain()
            var answer = ""
            handler?.takeOutput(failure: nil) { answer = String(decoding: $0, as: UTF8.self) }
            return answer
        }
    }

    static func start(
        _ system: MemoryFileSystem, _ change: (inout NodeConfiguration) -> Void = { _ in }
    ) throws -> (NodeServer, DirectNetwork) {
        var configuration = NodeConfiguration()
        change(&configuration)
        configuration.dataDirectory = "data"
        configuration.commitlogSync = .batch
        let network = DirectNetwork()
        let node = try NodeServer(
            configuration: configuration, system: system, time: ManualTime(), background: InlineBackground(),
            network: network, boot: 1,
            seed: 1)
        try node.listen()
        return (node, network)
    }

    @Test func drainRefusesRequestsAndClosesConnections() throws {
        let (node, network) = try Self.start(MemoryFileSystem())
        let client = network.lineClient()
        #expect(client.ask("SELECT key FROM system.local").contains("1 row"))
        node.drain()
        #expect(node.isDraining)
        #expect(client.isClosed)
        let late = network.lineClient()
        #expect(late.ask("SELECT key FROM system.local").contains("shutting down"))
        node.drain()
    }

    @Test func dataIsThereAfterADrainAndARestart() throws {
        let system = MemoryFileSystem()
        var random = SeededRandom(seed: 1)
        for round in 0..<2 {
            let (node, network) = try Self.start(system)
            let client = network.lineClient()
            if round == 0 {
                #expect(
                    client.ask(
                        "CREATE KEYSPACE k WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
                    ).hasPrefix(". "))
                #expect(client.ask("CREATE TABLE k.t (a int PRIMARY KEY, b text)").hasPrefix(". "))
                #expect(client.ask("INSERT INTO k.t (a, b) VALUES (1, 'x')").hasPrefix(". "))
            }
            #expect(client.ask("SELECT b FROM k.t WHERE a = 1").contains("[\"x\"]"))
            node.drain()
            // Everything is flushed, so a power loss loses nothing.
            system.crash(random: &random)
        }
        // Without `metadata` the node would not know its tables and drop their records in the commit log, so it refuses
        // to start.
        try system.remove("data/metadata")
        #expect(throws: NodeError.self) { try Self.start(system) }
    }

    /// A node that installs the cluster's schema for the first time may die after it has created the tables'
    /// directories and before it has written `metadata`. Nothing is lost.
    @Test func nodeStartsAfterACrashDuringItsFirstSchemaInstall() throws {
        let (node, network) = try Self.start(MemoryFileSystem())
        let client = network.lineClient()
        #expect(
            client.ask("CREATE KEYSPACE k WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
                .hasPrefix(". "))
        node.drain()
        let first = try #require(node.cluster.metadata.current)
        let other = MemoryFileSystem()
        try other.createDirectory("other")
        let store = MetadataStore(system: other, directory: "other", log: Self.silent)
        store.onChange(
            MetadataStore.Effects(prepare: { _, _ in
                try other.createDirectory("other/data")
                try other.createDirectory("other/data/k")
                throw NodeError.schema("the machine dies here")
            }))
        #expect(throws: NodeError.self) { try store.begin(first) }
        let again = MetadataStore(system: other, directory: "other", log: Self.silent)
        try again.open()
        #expect(again.current == nil)
        try again.begin(first)
        #expect(!other.exists("other/metadata.first"))
        try other.remove("other/metadata")
        #expect(throws: NodeError.self) {
            try MetadataStore(system: other, directory: "other", log: Self.silent).open()
        }
    }

    @Test func memberRefusesAnotherRackOrDataCenter() throws {
        let system = MemoryFileSystem()
        func describe(_ network: DirectNetwork) -> String { network.lineClient().ask("DESCRIBE CLUSTER") }
        do {
            let (node, network) = try Self.start(system) { $0.dataCenter = "dc1" }
            #expect(describe(network).contains("SimpleSnitch"))
            node.drain()
        }
        for (what, change) in [
            (
                "data center (dc2) differs from previous data center (dc1)",
                { (configuration: inout NodeConfiguration) in configuration.dataCenter = "dc2" }
            ),
            (
                "rack (r2) differs from previous rack (rack1)",
                { configuration in
                    configuration.dataCenter = "dc1"
                    configuration.rack = "r2"
                }
            ),
        ] as [(String, (inout NodeConfiguration) -> Void)] {
            let error = #expect(throws: NodeError.self) { try Self.start(system, change) }
            #expect("\(error as Any)".contains("Cannot start node if snitch's \(what)"), "\(error as Any)")
        }
        let (again, other) = try Self.start(system) {
            $0.dataCenter = "dc1"
            $0.endpointSnitch = "GossipingPropertyFileSnitch"
        }
        #expect(describe(other).contains("GossipingPropertyFileSnitch"))
        #expect(other.lineClient().ask("SELECT data_center, rack FROM system.local").contains("[\"dc1\",\"rack1\"]"))
        again.drain()
    }

    /// The schema no longer names a table, and the node dies before it removes the directory. The next start removes it
    /// and nothing else.
    @Test func directoriesOfDroppedTablesAreRemovedAtTheStart() throws {
        final class Death: Sendable {
            let state = Mutex<(isArmed: Bool, isDead: Bool)>((false, false))
        }
        let death = Death()
        let system = MemoryFileSystem { operation, path in
            death.state.withLock { state in
                if state.isDead { return .failed(errno: 5) }
                if state.isArmed && operation == "sync" && path == "data" { state.isDead = true }
                return nil
            }
        }
        var random = SeededRandom(seed: 3)
        func drop(_ statement: String) throws {
            let (_, network) = try Self.start(system)
            death.state.withLock { $0.isArmed = true }
            _ = network.lineClient().ask(statement)
            #expect(death.state.withLock { $0.isDead })
            death.state.withLock { $0 = (false, false) }
            system.crash(random: &random)
        }
        var (node, network) = try Self.start(system)
        var client = network.lineClient()
        for keyspace in ["k", "gone"] {
            _ = client.ask(
                "CREATE KEYSPACE \(keyspace) WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
            for name in ["keep", "away", "shot"] {
                _ = client.ask("CREATE TABLE \(keyspace).\(name) (a int PRIMARY KEY)")
                #expect(client.ask("INSERT INTO \(keyspace).\(name) (a) VALUES (7)").hasPrefix(". "))
            }
        }
        for table in node.storage.allTables where table.directory.contains("/k/shot") {
            try node.storage.snapshot(table, name: "s")
        }
        node.drain()
        system.crash(random: &random)
        try drop("DROP TABLE k.away")
        try drop("DROP TABLE k.shot")
        try drop("DROP KEYSPACE gone")
        #expect(try system.list("data/data").sorted() == ["gone", "k", "system"])
        (node, network) = try Self.start(system)
        client = network.lineClient()
        #expect(try system.list("data/data").sorted() == ["k", "system"])
        let names = try system.list("data/data/k").sorted()
        #expect(names.count == 2 && names[0].hasPrefix("keep-") && names[1].hasPrefix("shot-"))
        #expect(try system.list("data/data/k/" + names[1]) == ["snapshots"])
        #expect(client.ask("SELECT a FROM k.keep").contains("[7]"))
    }

    /// A schema change whose file was replaced but could not be synced is refused and undone: a killed node does not
    /// find it.
    @Test func refusedSchemaChangeIsNotStored() throws {
        final class Failures: Sendable { let left = Mutex(0) }
        let failures = Failures()
        let system = MemoryFileSystem { operation, path in
            failures.left.withLock { left in
                guard left > 0, operation == "sync", path == "data" else { return nil }
                left -= 1
                return .failed(errno: 5)
            }
        }
        let (node, network) = try Self.start(system)
        let client = network.lineClient()
        _ = client.ask("CREATE KEYSPACE k WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
        _ = client.ask("CREATE TABLE k.t (a int PRIMARY KEY)")
        #expect(client.ask("INSERT INTO k.t (a) VALUES (7)").hasPrefix(". "))
        for statement in ["CREATE TABLE k.u (a int PRIMARY KEY)", "DROP TABLE k.t"] {
            failures.left.withLock { $0 = 1 }
            #expect(client.ask(statement).contains("is unchanged"))
        }
        #expect(client.ask("INSERT INTO k.t (a) VALUES (8)").hasPrefix(". "))
        #expect(try system.list("data/data/k").count == 1)
        try node.storage.syncLog()
        var random = SeededRandom(seed: 1)
        system.crash(random: &random)
        let again = try Self.start(system).1.lineClient()
        let rows = again.ask("SELECT a FROM k.t")
        #expect(rows.contains("[7]") && rows.contains("[8]"))
        #expect(again.ask("SELECT a FROM k.u").contains("does not exist"))
    }
}
