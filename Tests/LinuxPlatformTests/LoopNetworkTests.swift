import Glibc
import LinuxPlatform
import Platform
import Synchronization
import Testing

/// When answers are sent while the disk is slow or refuses writes.
@Suite struct LoopNetworkTests {
    /// An acknowledgement that behaves as the test says.
    final class ScriptedDisk: Acknowledgement {
        struct State {
            var mark: UInt64 = 0
            var failure: String?
            var needsSync = false
            var syncs: [@Sendable (String?) -> Void] = []
        }
        let state = Mutex(State())

        var mark: UInt64 { state.withLock { $0.mark } }
        var failures: UInt64 { 0 }
        func flush() -> String? { state.withLock { $0.failure } }
        var needsSync: Bool { state.withLock { $0.needsSync } }
        func sync(_ done: @escaping @Sendable (String?) -> Void) { state.withLock { $0.syncs.append(done) } }

        var waiting: Int { state.withLock { $0.syncs.count } }
        func finishSync() { state.withLock { $0.syncs.isEmpty ? nil : $0.syncs.removeFirst() }?(nil) }
    }

    /// Sends its input back, or `!` when it may not be acknowledged.
    final class Echo: ConnectionHandler {
        private let connection: any Connection
        private let received: Received
        private var out: [UInt8] = []

        init(_ connection: any Connection, _ received: Received) {
            self.connection = connection
            self.received = received
        }

        var isPaused: Bool { false }

        func receive(_ input: UnsafeRawBufferPointer) -> Int {
            out += input
            connection.markReady()
            received.count.add(input.count, ordering: .relaxed)
            return input.count
        }

        func takeOutput(failure: String?, _ body: (UnsafeRawBufferPointer) -> Void) {
            if failure != nil { out = out.map { _ in UInt8(ascii: "!") } }
            out.withUnsafeBytes { body($0) }
            out = []
        }

        func inputEnded(_ rest: UnsafeRawBufferPointer) { connection.closeAfterOutput() }
        func closed() {}
    }

    final class Received: Sendable { let count = Atomic<Int>(0) }

    /// A blocking client.
    struct Client {
        let socket: Int32

        init(port: Int) {
            socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = in_port_t(port).bigEndian
            address.sin_addr.s_addr = inet_addr("127.0.0.1")
            let connected = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            precondition(connected == 0, "cannot connect")
            var limit = timeval(tv_sec: 5, tv_usec: 0)
            setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        }

        func write(_ text: String) {
            _ = Array(text.utf8).withUnsafeBytes { send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        }
        func end() { shutdown(socket, Int32(SHUT_WR)) }

        /// Reads up to `count` bytes; fewer at the end of the connection.
        func read(_ count: Int) -> String {
            var bytes = [UInt8](repeating: 0, count: count)
            var got = 0
            while got < count {
                let more = bytes.withUnsafeMutableBytes {
                    recv(socket, $0.baseAddress.map { $0 + got }, count - got, 0)
                }
                if more <= 0 { break }
                got += more
            }
            return String(decoding: bytes[..<got], as: UTF8.self)
        }

        var hasInput: Bool {
            var byte: UInt8 = 0
            return recv(socket, &byte, 1, Int32(MSG_PEEK | MSG_DONTWAIT)) > 0
        }
    }

    static func until(_ condition: () -> Bool) {
        for _ in 0..<2000 where !condition() { usleep(1000) }
        #expect(condition(), "waited too long")
    }

    static func listen(_ disk: ScriptedDisk) throws -> (network: LoopNetwork, port: Int, received: Received) {
        let network = LoopNetwork(loops: 1)
        let received = Received()
        let listener = try network.listen(host: "127.0.0.1", port: 0, acknowledgement: disk) { Echo($0, received) }
        return (network, listener.port, received)
    }

    /// An answer that needs no disk does not overtake one that waits for it.
    @Test func answersStayInOrder() throws {
        let disk = ScriptedDisk()
        let (network, port, received) = try Self.listen(disk)
        defer { network.stop() }
        let client = Client(port: port)
        disk.state.withLock { $0.needsSync = true }
        client.write("a")
        Self.until { disk.waiting == 1 }
        disk.state.withLock { $0.needsSync = false }
        client.write("b")
        Self.until { received.count.load(ordering: .relaxed) == 2 }
        usleep(50_000)
        #expect(!client.hasInput)
        disk.finishSync()
        #expect(client.read(2) == "ab")
        close(client.socket)
    }

    /// A client that shuts down its side gets all answers before the connection closes.
    @Test func waitingAnswersAreSentBeforeTheEnd() throws {
        let disk = ScriptedDisk()
        let (network, port, received) = try Self.listen(disk)
        defer { network.stop() }
        let client = Client(port: port)
        disk.state.withLock { $0.needsSync = true }
        client.write("a")
        Self.until { disk.waiting == 1 }
        client.write("b")
        client.end()
        Self.until { received.count.load(ordering: .relaxed) == 2 && disk.waiting >= 2 }
        while disk.waiting > 0 {
            disk.finishSync()
            usleep(20_000)
        }
        #expect(client.read(10) == "ab")
        close(client.socket)
    }

    /// Requests that write nothing are answered while the log cannot be written.
    @Test func readsContinueWhileTheLogFails() throws {
        let disk = ScriptedDisk()
        let (network, port, _) = try Self.listen(disk)
        defer { network.stop() }
        let client = Client(port: port)
        client.write("r")
        #expect(client.read(1) == "r")
        disk.state.withLock {
            $0.failure = "disk full"
            $0.mark += 1
        }
        client.write("w")
        #expect(client.read(1) == "!")
        client.write("r")
        #expect(client.read(1) == "r")
        close(client.socket)
    }

    /// Sends one large message and counts the bytes it receives.
    final class Sender: ConnectionHandler {
        private let received: Received
        private var out: [UInt8]

        init(_ connection: any Connection, _ received: Received, bytes: Int) {
            self.received = received
            out = [UInt8](repeating: 1, count: bytes)
            connection.onLoop { connection.markReady() }
        }

        var isPaused: Bool { false }

        func receive(_ input: UnsafeRawBufferPointer) -> Int {
            received.count.add(input.count, ordering: .relaxed)
            return input.count
        }

        func takeOutput(failure: String?, _ body: (UnsafeRawBufferPointer) -> Void) {
            out.withUnsafeBytes { body($0) }
            out = []
        }

        func inputEnded(_ rest: UnsafeRawBufferPointer) {}
        func closed() {}
    }

    /// Two ends that both have more to send than the sockets can hold do not deadlock.
    @Test func bulkTransferInBothDirectionsArrives() throws {
        let bytes = 64 << 20
        let (network, port, _) = try Self.listen(ScriptedDisk())
        let other = LoopNetwork(loops: 1)
        defer {
            network.stop()
            other.stop()
        }
        let back = Received()
        other.onLoop(0) { other.connect(host: "127.0.0.1", port: port, loop: 0) { Sender($0, back, bytes: bytes) } }
        for _ in 0..<10 where back.count.load(ordering: .relaxed) < bytes { sleep(1) }
        #expect(back.count.load(ordering: .relaxed) == bytes)
    }
}
