import Platform
import Synchronization
import Testing

/// The end of a loop's turn, with a loop, a disk and connections that the test drives.
@Suite struct LoopTurnTests {
    /// Runs work when the test says so. SAFETY: `@unchecked Sendable` because a test uses it on one thread.
    final class Loop: @unchecked Sendable {
        private var tasks: [() -> Void] = []
        func execute(_ work: @escaping @Sendable () -> Void) { tasks.append(work) }
        var isIdle: Bool { tasks.isEmpty }
        func drain() { while !tasks.isEmpty { tasks.removeFirst()() } }
    }

    final class Disk: Acknowledgement {
        struct State {
            var mark: UInt64 = 0
            var failure: String?
            var failures: UInt64 = 0
            var needsSync = false
            var flushes = 0
            var syncs: [@Sendable (String?) -> Void] = []
        }
        let state = Mutex(State())

        var mark: UInt64 { state.withLock { $0.mark } }
        var needsSync: Bool { state.withLock { $0.needsSync } }
        var failures: UInt64 { state.withLock { $0.failures } }
        func flush() -> String? {
            state.withLock {
                $0.flushes += 1
                return $0.failure
            }
        }
        func sync(_ done: @escaping @Sendable (String?) -> Void) { state.withLock { $0.syncs.append(done) } }
        func finishSync(_ failure: String? = nil) { state.withLock { $0.syncs.removeFirst() }(failure) }
    }

    /// What all connections sent, in order.
    final class Log { var lines: [String] = [] }

    /// SAFETY: `@unchecked Sendable` because a test uses it on one thread.
    final class Member: TurnConnection, @unchecked Sendable {
        let name: String
        let turn: LoopTurn<Member>
        let acknowledgement: (any Acknowledgement)?
        let log: Log
        var answers = TurnAnswers<String>()
        var pending = ""
        var readingUpdates = 0
        /// Runs once, from inside the next write.
        var onWrite: (() -> Void)?

        init(_ name: String, _ turn: LoopTurn<Member>, _ disk: Disk?, _ log: Log) {
            self.name = name
            self.turn = turn
            acknowledgement = disk
            self.log = log
        }

        func answer(_ text: String) {
            pending += text
            markReady()
        }

        func takeOutput(failure: String?) -> String {
            defer { pending = "" }
            return failure == nil ? pending : "failed"
        }

        func byteCount(of output: String) -> Int { output.utf8.count }

        func write(_ output: String, isLast: Bool) {
            log.lines.append("\(name): \(output)\(isLast ? " end" : "")")
            let work = onWrite
            onWrite = nil
            work?()
        }

        func updateReading() { readingUpdates += 1 }

        func closeNow() {
            answers.dropHeld()
            log.lines.append("\(name): closed")
        }
    }

    let loop = Loop()
    let disk = Disk()
    let log = Log()
    let turn: LoopTurn<Member>

    init() {
        let loop = loop
        turn = LoopTurn { loop.execute($0) }
    }

    private func member(_ name: String, acknowledges: Bool = true) -> Member {
        Member(name, turn, acknowledges ? disk : nil, log)
    }

    private func write() { disk.state.withLock { $0.mark += 1 } }

    @Test func turnFlushesOnceAndOutputWithoutAcknowledgementLeavesFirst() {
        let a = member("a")
        let b = member("b")
        let asks = member("asks", acknowledges: false)
        a.answer("1")
        a.answer("2")
        b.answer("3")
        asks.answer("?")
        turn.whenSafe(disk, LinesBox(log), token: 7)
        loop.drain()
        #expect(log.lines == ["asks: ?", "a: 12", "b: 3", "work 7: safe"])
        #expect(disk.state.withLock { $0.flushes } == 1)
        // A turn in which nothing acknowledges flushes nothing.
        asks.answer("?")
        loop.drain()
        #expect(disk.state.withLock { $0.flushes } == 1)
    }

    @Test func answersWaitForTheSyncAndStayInOrder() {
        let a = member("a")
        disk.state.withLock { $0.needsSync = true }
        write()
        a.answer("1")
        loop.drain()
        write()
        a.answer("2")
        loop.drain()
        disk.state.withLock { $0.needsSync = false }
        a.answer("3")
        loop.drain()
        #expect(log.lines == [] && a.readingUpdates == 3)
        disk.finishSync()
        #expect(log.lines == [])
        loop.drain()
        #expect(log.lines == ["a: 1"])
        disk.finishSync()
        loop.drain()
        #expect(log.lines == ["a: 1", "a: 2", "a: 3"])
        a.answer("4")
        loop.drain()
        #expect(log.lines.last == "a: 4" && a.readingUpdates == 3)
    }

    @Test func laterSyncThatEndsFirstReleasesNothing() {
        let a = member("a")
        disk.state.withLock { $0.needsSync = true }
        a.answer("1")
        loop.drain()
        a.answer("2")
        loop.drain()
        let (first, second) = disk.state.withLock { ($0.syncs[0], $0.syncs[1]) }
        second(nil)
        loop.drain()
        #expect(log.lines == [])
        first(nil)
        loop.drain()
        #expect(log.lines == ["a: 1", "a: 2"])
    }

    @Test func failedFlushAcknowledgesNoWrite() {
        let a = member("a")
        disk.state.withLock { $0.failure = "full" }
        write()
        a.answer("1")
        turn.whenSafe(disk, LinesBox(log), token: 7)
        loop.drain()
        // The next turn writes nothing, so that its answers have nothing to lose.
        a.answer("2")
        loop.drain()
        #expect(log.lines == ["a: failed", "work 7: full", "a: 2"])
    }

    /// A turn without writes may have read what another loop wrote and the failed flush could lose.
    @Test func turnInWhichFlushesBeginToFailAnswersNothing() {
        let a = member("a")
        disk.state.withLock {
            $0.failure = "full"
            $0.failures = 1
        }
        a.answer("1")
        loop.drain()
        a.answer("2")
        loop.drain()
        #expect(log.lines == ["a: failed", "a: 2"])
    }

    @Test func failedSyncClosesTheConnection() {
        let a = member("a")
        disk.state.withLock { $0.needsSync = true }
        write()
        a.answer("1")
        loop.drain()
        a.answer("2")
        loop.drain()
        disk.finishSync("broken")
        loop.drain()
        #expect(log.lines == ["a: closed"])
        disk.finishSync()
        loop.drain()
        #expect(log.lines == ["a: closed"])
    }

    @Test func connectionClosesAfterItsLastAnswer() {
        let a = member("a")
        disk.state.withLock { $0.needsSync = true }
        a.answer("1")
        loop.drain()
        a.pending = "2"
        a.closeAfterOutput()
        loop.drain()
        disk.finishSync()
        loop.drain()
        #expect(log.lines == ["a: 1"])
        disk.finishSync()
        loop.drain()
        #expect(log.lines == ["a: 1", "a: 2 end"])
    }

    /// An answer that becomes ready while another is sent belongs to the next turn, and the connection stays open for
    /// it.
    @Test func answerMadeWhileSendingLeavesInTheNextTurn() {
        let a = member("a")
        a.onWrite = {
            a.pending = "2"
            a.closeAfterOutput()
        }
        a.answer("1")
        loop.drain()
        #expect(log.lines == ["a: 1", "a: 2 end"] && loop.isIdle)
    }

    @Test func heldAnswersStopReadingAtTheirLimit() {
        let a = member("a")
        disk.state.withLock { $0.needsSync = true }
        a.answer(String(repeating: "x", count: TurnLimits.heldBytes - 1))
        loop.drain()
        #expect(!a.answers.isFull)
        a.answer("y")
        loop.drain()
        #expect(a.answers.isFull)
        disk.finishSync()
        loop.drain()
        #expect(!a.answers.isFull)
    }
}

/// Hands the log to work that must be `Sendable`. SAFETY: `@unchecked Sendable` because a test uses it on one thread.
private final class LinesBox: SafetyWaiter, @unchecked Sendable {
    private let log: LoopTurnTests.Log
    init(_ log: LoopTurnTests.Log) { self.log = log }
    func append(_ line: String) { log.lines.append(line) }
    func writesAreSafe(_ token: UInt64, failure: String?) { append("work \(token): \(failure ?? "safe")") }
}
