import Platform
import Primitives
import Testing

@testable import Simulation

/// Sends every byte back and records events. SAFETY: a simulated world runs on one thread.
private final class Echo: ConnectionHandler, @unchecked Sendable {
    let connection: any Connection
    let record: Record
    var out: [UInt8] = []
    var isPaused = false
    var received: [UInt8] = []

    init(_ connection: any Connection, _ record: Record) {
        self.connection = connection
        self.record = record
    }

    func receive(_ input: UnsafeRawBufferPointer) -> Int {
        received += input
        out += input
        connection.markReady()
        return input.count
    }

    func takeOutput(failure: String?, _ body: (UnsafeRawBufferPointer) -> Void) {
        if let failure { out = Array("!\(failure)".utf8) }
        out.withUnsafeBytes(body)
        out = []
    }

    func inputEnded(_ rest: UnsafeRawBufferPointer) {
        record.lines.append("input ended")
        connection.closeAfterOutput()
    }

    func closed() { record.lines.append("server closed") }
}

/// Sends bytes and keeps the answers. SAFETY: a simulated world runs on one thread.
private final class Caller: ConnectionHandler, @unchecked Sendable {
    let connection: any Connection
    var out: [UInt8]
    var received: [UInt8] = []
    var isClosed = false
    var isPaused = false

    init(_ connection: any Connection, sends: [UInt8]) {
        self.connection = connection
        out = sends
        connection.markReady()
    }

    func receive(_ input: UnsafeRawBufferPointer) -> Int {
        received += input
        return input.count
    }

    func takeOutput(failure: String?, _ body: (UnsafeRawBufferPointer) -> Void) {
        out.withUnsafeBytes(body)
        out = []
    }

    func inputEnded(_ rest: UnsafeRawBufferPointer) {}
    func closed() { isClosed = true }
}

/// A commit log whose syncs the test completes. SAFETY: a simulated world runs on one thread.
private final class ManualSync: Acknowledgement, @unchecked Sendable {
    var mark: UInt64 = 0
    var needsSync = false
    var flushFailure: String?
    var waiting: [@Sendable (String?) -> Void] = []
    var failures: UInt64 { 0 }
    func flush() -> String? { flushFailure }
    func sync(_ done: @escaping @Sendable (String?) -> Void) { waiting.append(done) }
}

@Suite struct NetworkTests {
    private let empty = EmptyWorld()
    private let record = Record()
    private let bytes: [UInt8] = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }

    /// Starts a server on machine 1 and connects a caller on machine 2.
    private func call(_ acknowledgement: (any Acknowledgement)? = nil, sends: [UInt8]) throws -> Caller {
        let server = empty.network(0)
        let record = record
        _ = try server.listen(host: "127.0.0.1", port: 7000, acknowledgement: acknowledgement) { Echo($0, record) }
        let client = empty.network(1, onThreads: false)
        let box = Box()
        client.connect(host: "127.0.0.1", port: 7000, loop: 0) { connection in
            let caller = Caller(connection, sends: sends)
            box.caller = caller
            return caller
        }
        return try #require(box.caller)
    }

    private final class Box: @unchecked Sendable {
        var caller: Caller?
    }

    private func run(_ seconds: Double) { empty.world.run(atMost: UInt64(seconds * 1e9)) }

    @Test func bytesArriveCompleteAndInOrder() throws {
        let caller = try call(sends: bytes)
        run(10)
        #expect(caller.received == bytes)
        caller.connection.closeAfterOutput()
        run(1)
        #expect(caller.isClosed)
        #expect(record.lines == ["input ended", "server closed"])
    }

    @Test func portIsTakenOnce() throws {
        let network = empty.network(0)
        let record = record
        let listener = try network.listen(host: "127.0.0.1", port: 0, acknowledgement: nil) { Echo($0, record) }
        #expect(throws: NetworkError.self) {
            try network.listen(host: "127.0.0.1", port: listener.port, acknowledgement: nil) { Echo($0, record) }
        }
        listener.close()
        _ = try network.listen(host: "127.0.0.1", port: listener.port, acknowledgement: nil) { Echo($0, record) }
    }

    @Test func connectionToAClosedPortFails() throws {
        let client = empty.network(1, onThreads: false)
        _ = empty.network(0)
        let box = Box()
        client.connect(host: "127.0.0.1", port: 7000, loop: 0) { connection in
            let caller = Caller(connection, sends: [1])
            box.caller = caller
            return caller
        }
        run(1)
        #expect(box.caller?.isClosed == true)
    }

    @Test func unreachableHostTakesTheConnectTimeout() throws {
        empty.fabric.set(empty.machines[0], empty.machines[1]) { $0.isBlocked = true }
        let caller = try call(sends: bytes)
        run(1.9)
        #expect(!caller.isClosed)
        run(0.3)
        #expect(caller.isClosed)
    }

    @Test func partitionDelaysBytesUntilItHeals() throws {
        let caller = try call(sends: [1, 2, 3])
        run(1)
        #expect(caller.received == [1, 2, 3])
        empty.fabric.set(empty.machines[0], empty.machines[1]) { $0.isBlocked = true }
        caller.out = [4, 5]
        caller.connection.markReady()
        run(5)
        #expect(caller.received == [1, 2, 3])
        empty.fabric.set(empty.machines[0], empty.machines[1]) { $0.isBlocked = false }
        run(1)
        #expect(caller.received == [1, 2, 3, 4, 5])
        #expect(!caller.isClosed)
    }

    /// When a connection is closed while its link is cut, the other end learns it when the link heals, even if the
    /// closing node is gone.
    @Test func connectionEndIsDeliveredWhenLinkHeals() throws {
        let caller = try call(sends: [1])
        run(1)
        empty.fabric.set(empty.machines[1], empty.machines[0]) { $0.isBlocked = true }
        caller.connection.closeAfterOutput()
        run(5)
        #expect(caller.isClosed)
        #expect(record.lines.isEmpty)
        empty.fabric.heal()
        run(5)
        #expect(record.lines == ["input ended", "server closed"])
    }

    @Test func connectionBrokenBeforeItIsAcceptedHasNoOtherEnd() throws {
        let caller = try call(sends: [1])
        empty.fabric.breakConnections { _ in true }
        run(5)
        #expect(caller.isClosed)
        #expect(record.lines.isEmpty)
    }

    @Test func flappingLinkKeepsTheOrder() throws {
        let caller = try call(sends: [])
        run(1)
        var sent: [UInt8] = []
        for number in 0..<200 {
            empty.fabric.set(empty.machines[1], empty.machines[0]) { $0.isBlocked = number % 3 == 0 }
            empty.fabric.set(empty.machines[1], empty.machines[0]) { $0.slowness = number % 2 == 0 ? 20 : 1 }
            caller.out += [UInt8(number)]
            sent.append(UInt8(number))
            caller.connection.markReady()
            run(0.003)
        }
        empty.fabric.heal()
        run(5)
        #expect(caller.received == sent)
    }

    @Test func brokenConnectionEndsAtBothEnds() throws {
        let caller = try call(sends: [1])
        run(1)
        empty.fabric.breakConnections { _ in true }
        run(1)
        #expect(caller.isClosed)
        #expect(record.lines == ["server closed"])
    }

    @Test func killedProcessClosesItsConnections() throws {
        let caller = try call(sends: [1])
        run(1)
        let incarnation = try #require(empty.machines[0].incarnation)
        empty.machines[0].end(losesPower: false)
        empty.fabric.processEnded(incarnation, losesPower: false)
        run(1)
        #expect(caller.isClosed)
        #expect(record.lines.isEmpty)
    }

    @Test func answersWaitForTheSync() throws {
        let sync = ManualSync()
        sync.needsSync = true
        let caller = try call(sync, sends: [1, 2])
        run(1)
        #expect(caller.received.isEmpty)
        #expect(sync.waiting.count == 1)
        sync.waiting.removeFirst()(nil)
        run(1)
        #expect(caller.received == [1, 2])
    }

    @Test func noAcknowledgementWhenSyncFails() throws {
        let sync = ManualSync()
        sync.needsSync = true
        let caller = try call(sync, sends: [1, 2])
        run(1)
        sync.waiting.removeFirst()("the disk is gone")
        run(1)
        #expect(caller.received.isEmpty)
        #expect(caller.isClosed)
    }

    @Test func answersAreReplacedWhenLogFlushFails() throws {
        let sync = ManualSync()
        sync.flushFailure = "full"
        sync.mark = 1
        let caller = try call(sync, sends: [1, 2])
        run(1)
        #expect(String(decoding: caller.received, as: UTF8.self) == "!full")
        // Nothing was written since, so reads continue.
        caller.out = [9]
        caller.connection.markReady()
        run(1)
        #expect(caller.received.last == 9)
    }

    @Test func pausedReaderStopsSender() throws {
        let caller = try call(sends: [])
        caller.isPaused = true
        let chunk = [UInt8](repeating: 1, count: 40_000)
        run(1)
        for _ in 0..<20 {
            caller.out += chunk
            caller.connection.markReady()
            run(0.1)
        }
        run(5)
        // Only what was delivered before the caller's pause took effect.
        #expect(caller.received.count <= NetworkFabric.largestChunk)
        caller.isPaused = false
        caller.connection.onLoop { caller.connection.resumeInput() }
        run(20)
        #expect(caller.received.count == 20 * chunk.count)
    }

    @Test func bulkTransferInBothDirectionsDoesNotDeadlock() throws {
        let caller = try call(sends: [])
        let chunk = [UInt8](repeating: 1, count: 300_000)
        for _ in 0..<20 {
            caller.out += chunk
            caller.connection.markReady()
            run(0.0001)
        }
        run(20)
        #expect(caller.received.count == 20 * chunk.count)
    }

    @Test func workIsSafeOnlyAfterTheSync() throws {
        let network = empty.network(0)
        let sync = ManualSync()
        sync.needsSync = true
        let record = record
        network.onLoop(0) { network.whenSafe(loop: 0, sync) { record.lines.append($0 ?? "safe") } }
        run(1)
        #expect(record.lines.isEmpty)
        sync.waiting.removeFirst()(nil)
        run(1)
        #expect(record.lines == ["safe"])
    }

    @Test func scheduledWorkRunsAtItsTime() {
        let network = empty.network(0)
        let record = record
        network.schedule(loop: 0, nanoseconds: 2_000_000_000) { record.lines.append("two") }
        network.schedule(loop: 0, nanoseconds: 1_000_000_000) { record.lines.append("one") }
        run(1.5)
        #expect(record.lines == ["one"])
        run(1)
        #expect(record.lines == ["one", "two"])
    }
}
