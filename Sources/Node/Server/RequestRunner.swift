import CQL
import Coordinator
import DataModel
import Messages
import Platform
import Primitives
import Query
import Synchronization

/// Runs requests: on the loop they arrived on, again when other nodes have answered, and on the I/O pool when they would have to wait for the disk.
///
/// **Thread safety**: all methods, from any thread; `scratch(loop:)` from that loop only.
final class RequestRunner: Sendable {
    let engine: QueryEngine
    private let background: any Background
    private let acknowledgement: any Acknowledgement
    private let loopScratches: [ScratchBox]
    private let freeScratches = Mutex<[ScratchBox]>([])
    private let seed: UInt64
    private let scratchCount = Atomic<UInt64>(1 << 16)
    private let room: WaitingRoom
    fileprivate let network: any Network
    private let random: Mutex<SeededRandom>
    let requests = Atomic<Int>(0)
    let pooled = Atomic<Int>(0)
    let failures = Atomic<Int>(0)

    /// SAFETY: a scratch is used by one thread at a time: its loop, or the pool thread that took it out.
    final class ScratchBox: @unchecked Sendable {
        let scratch: ExecutionScratch
        init(_ scratch: ExecutionScratch) { self.scratch = scratch }
    }

    init(
        engine: QueryEngine, background: any Background, network: any Network, acknowledgement: any Acknowledgement, seed: UInt64,
        node: UUID, room: WaitingRoom
    ) {
        self.engine = engine
        self.room = room
        self.network = network
        random = Mutex(SeededRandom(seed: seed ^ 0x5eed))
        self.background = background
        self.acknowledgement = acknowledgement
        self.seed = seed
        loopScratches = (0..<network.loops).map { index in
            ScratchBox(ExecutionScratch(seed: seed &+ UInt64(index), clockSequenceAndNode: node.low &+ UInt64(index)))
        }
    }

    /// Whether no request waits for the pool or runs on it.
    var isIdle: Bool { room.isEmpty }

    @inline(__always) func scratch(loop: Int) -> ExecutionScratch { loopScratches[loop].scratch }

    /// Runs a request to its end that could not be answered at once.
    /// - Parameters:
    ///   - failure: why it could not.
    ///   - port: what it reads and writes through, when other nodes are asked.
    ///   - bytes: of the request, counted until it is done.
    ///   - attempt: executes the request from its start.
    ///   - done: called once, on the loop, with its result.
    /// - Returns: false when too many requests, or bytes of them, wait already.
    func finish(
        after failure: QueryFailure, port: ClusterPort?, bytes: Int, loop: Int, attempt: @escaping WaitingRequest.Attempt,
        _ done: @escaping (Result<Answer, ServerError>) -> Void
    ) -> Bool {
        guard let deadline = room.enter(bytes: bytes) else { return false }
        WaitingRequest(runner: self, port: port, bytes: bytes, loop: loop, deadline: deadline, attempt: attempt, done: done)
            .goOn(after: failure)
        return true
    }

    fileprivate func sleep(nanoseconds: UInt64) { background.sleep(nanoseconds: nanoseconds) }

    fileprivate func random(below limit: UInt64) -> UInt64 { random.withLock { $0.next() } % limit }

    fileprivate func leave(bytes: Int) { room.leave(bytes: bytes) }

    /// Runs `work` on the I/O pool with a scratch of its own and makes what it wrote safe to acknowledge.
    fileprivate func onPool(
        deadline: UInt64, _ work: @escaping @Sendable (ExecutionScratch) -> Result<Answer, ServerError>,
        _ done: @escaping @Sendable (Result<Answer, ServerError>) -> Void
    ) {
        pooled.add(1, ordering: .relaxed)
        background.run(.read) { [self] in
            if room.isTooLate(deadline) { return done(.failure(RequestRunner.overloaded)) }
            let box = freeScratches.withLock { $0.popLast() } ?? newScratch()
            let mark = acknowledgement.mark
            var result = work(box.scratch)
            freeScratches.withLock { if $0.count < 64 { $0.append(box) } }
            // Where nothing was written meanwhile, there is nothing a failing log could lose.
            let hasWritten = acknowledgement.mark != mark
            if let failure = acknowledgement.flush(), hasWritten { result = .failure(RequestRunner.notLogged(failure)) }
            done(result)
        }
    }

    private func newScratch() -> ScratchBox {
        let number = scratchCount.add(1, ordering: .relaxed).oldValue
        return ScratchBox(ExecutionScratch(seed: seed &+ number, clockSequenceAndNode: seed &+ number))
    }

    /// What clients whose write could not be logged are told.
    static func notLogged(_ failure: String) -> ServerError {
        ServerError(.serverError, "the write could not be logged and is not acknowledged: \(failure)")
    }

    static let overloaded = ServerError(.overloaded, "too many requests are waiting for the disk; slow down and try again")
}

/// A request that waits for the disk or for other nodes, and is executed again from its start when it need not any more.
///
/// SAFETY: `@unchecked Sendable` because it is touched by one thread at a time: its loop, or the thread of the pool that runs it.
final class WaitingRequest: @unchecked Sendable {
    typealias Attempt = @Sendable (IOMode, ExecutionScratch) throws(QueryFailure) -> Answer

    private let runner: RequestRunner
    private let port: ClusterPort?
    private let bytes: Int
    private let loop: Int
    private let deadline: UInt64
    private let attempt: Attempt
    private let done: (Result<Answer, ServerError>) -> Void
    private var attempts = 0
    private var restarts = 0

    /// A request with more steps goes on where it may wait for each, instead of being executed again.
    static let attemptsOnLoop = 5

    init(
        runner: RequestRunner, port: ClusterPort?, bytes: Int, loop: Int, deadline: UInt64, attempt: @escaping Attempt,
        done: @escaping (Result<Answer, ServerError>) -> Void
    ) {
        self.runner = runner
        self.port = port
        self.bytes = bytes
        self.loop = loop
        self.deadline = deadline
        self.attempt = attempt
        self.done = done
    }

    /// On the loop.
    func goOn(after failure: QueryFailure) {
        switch failure {
        case .server(let error): end(.failure(error))
        case .wouldBlock: runOnPool()
        case .pending: port?.whenComplete = { [self] in again() }
        case .pendingWrite:
            port?.whenComplete = { [self] in
                // Why it failed is looked at where it is executed.
                if port?.lastFailure != nil { return again() }
                end(.success(Answer(result: .void, warnings: port?.warnings ?? [])))
            }
        case .restart: rest { [self] in again() }
        }
    }

    /// Another transaction came first: it is given time to end, the more the longer this goes on.
    private func rest(_ work: @escaping @Sendable () -> Void) {
        restarts += 1
        let most = UInt64(1_000_000) << UInt64(min(restarts, 6))
        runner.network.schedule(loop: loop, nanoseconds: runner.random(below: most), work)
    }

    private func again() {
        attempts += 1
        port?.rewind()
        if attempts >= Self.attemptsOnLoop { return runOnPool() }
        do throws(QueryFailure) {
            end(.success(try attempt(.nonBlocking, runner.scratch(loop: loop))))
        } catch { goOn(after: error) }
    }

    private func runOnPool() {
        port?.mayWait = true
        runner.onPool(deadline: deadline) { [self] scratch in
            while true {
                port?.rewind()
                do throws(QueryFailure) { return .success(try attempt(.blocking, scratch)) } catch {
                    switch error {
                    case .server(let problem): return .failure(problem)
                    case .restart:
                        restarts += 1
                        runner.sleep(nanoseconds: runner.random(below: UInt64(1_000_000) << UInt64(min(restarts, 6))))
                    case .wouldBlock, .pending, .pendingWrite:
                        return .failure(ServerError(.serverError, "the request had to wait where it may not; this is a defect"))
                    }
                }
            }
        } _: { [self] result in
            runner.network.onLoop(loop) { [self] in end(result) }
        }
    }

    private func end(_ result: Result<Answer, ServerError>) {
        runner.leave(bytes: bytes)
        done(result)
    }
}
