import Platform
import Primitives
import Synchronization
import Testing

@testable import Node

/// A node over files in memory, with connections that the test speaks on directly.
@Suite struct NodeServerTests {
    /// Connections that run everything at once.
    final class DirectNetwork: Network {
        typealias Make = @Sendable (any Connection) -> any ConnectionHandler
        private struct Bound: Listener {
            let port: Int
            func close() {}
        }
        let makers = Mutex<[Make]>([])
        var loops: Int { 1 }
        func stop() {}

        func listen(
            host: String, port: Int, acknowledgement: (any Acknowledgement)?, _ makeHandler: @escaping Make
        ) throws(NetworkError) -> any Listener {
            Bound(
                port: makers.withLock { makers in
                    makers.append(makeHandler)
                    return makers.count
                })
        }

        /// A client of the line protocol, the second port.
        func lineClient() -> Client { Client(makers.withLock { $0[1] }) }
    }

    /// SAFETY: `@unchecked Sendable` because a test uses it on one thread.
    final class Client: Connection, @unchecked Sendable {
        let peer = "test"
        let loop = 0
        private var handler: (any ConnectionHandler)?
        private(set) var isClosed = false

        init(_ make: DirectNetwork.Make) { handler = make(self) }

        func onLoop(_ work: @escaping @Sendable () -> Void) { work() }
        func markReady() {}
        func resumeInput() {}
        func closeAfterOutput() {
            isClosed = true
            handler?.closed()
        }

        func ask(_ line: String) -> String {
            _ = Array((line + "\n").utf8).withUnsafeBytes { handler?.receive($0) }
            var answer = ""
            handler?.takeOutput(failure: nil) { answer = String(decoding: $0, as: UTF8.self) }
            return answer
        }
    }

    static func start(_ system: MemoryFileSystem) throws -> (NodeServer, DirectNetwork) {
        var configuration = NodeConfiguration()
        configuration.dataDirectory = "data"
        configuration.commitlogSync = .batch
        let network = DirectNetwork()
        let node = try NodeServer(
            configuration: configuration, system: system, time: ManualTime(), background: InlineBackground(), network: network, boot: 1,
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

    @Test func aNodeFindsWhatItHadAfterADrain() throws {
        let system = MemoryFileSystem()
        var random = SeededRandom(seed: 1)
        for round in 0..<2 {
            let (node, network) = try Self.start(system)
            let client = network.lineClient()
            if round == 0 {
                #expect(
                    client.ask("CREATE KEYSPACE k WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}").hasPrefix(". "))
                #expect(client.ask("CREATE TABLE k.t (a int PRIMARY KEY, b text)").hasPrefix(". "))
                #expect(client.ask("INSERT INTO k.t (a, b) VALUES (1, 'x')").hasPrefix(". "))
            }
            #expect(client.ask("SELECT b FROM k.t WHERE a = 1").contains("[\"x\"]"))
            node.drain()
            // Nothing is left to lose, even when the power fails now.
            system.crash(random: &random)
        }
        // Without its schema the node would take the tables for nothing, and drop what the log has of them.
        try system.remove("data/schema")
        #expect(throws: NodeError.self) { try Self.start(system) }
    }
}
