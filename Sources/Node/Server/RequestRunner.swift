import CQL
import DataModel
import Messages
import Platform
import Primitives
import Query
import Synchronization

/// Runs requests: on the loop they arrived on, and, when they would have to wait, once more on the I/O pool.
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
    let requests = Atomic<Int>(0)
    let pooled = Atomic<Int>(0)
    let failures = Atomic<Int>(0)

    /// SAFETY: a scratch is used by one thread at a time: its loop, or the pool thread that took it out.
    final class ScratchBox: @unchecked Sendable {
        let scratch: ExecutionScratch
        init(_ scratch: ExecutionScratch) { self.scratch = scratch }
    }

    init(
        engine: QueryEngine, background: any Background, acknowledgement: any Acknowledgement, loops: Int, seed: UInt64, node: UUID,
        room: WaitingRoom
    ) {
        self.engine = engine
        self.room = room
        self.background = background
        self.acknowledgement = acknowledgement
        self.seed = seed
        loopScratches = (0..<loops).map { index in
            ScratchBox(ExecutionScratch(seed: seed &+ UInt64(index), clockSequenceAndNode: node.low &+ UInt64(index)))
        }
    }

    /// Whether no request waits for the pool or runs on it.
    var isIdle: Bool { room.isEmpty }

    @inline(__always) func scratch(loop: Int) -> ExecutionScratch { loopScratches[loop].scratch }

    /// Runs `work` on the I/O pool with a scratch of its own, makes what it wrote safe to acknowledge, and calls `done` with its result there.
    /// - Parameter bytes: of the request, counted until it is done.
    /// - Returns: false when too many requests, or bytes of them, wait already.
    func onPool<R: Sendable>(
        bytes: Int, _ work: @escaping @Sendable (ExecutionScratch) -> Result<R, ServerError>,
        _ done: @escaping @Sendable (Result<R, ServerError>) -> Void
    ) -> Bool {
        guard let deadline = room.enter(bytes: bytes) else { return false }
        pooled.add(1, ordering: .relaxed)
        background.run(.read) { [self] in
            defer { room.leave(bytes: bytes) }
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
        return true
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
