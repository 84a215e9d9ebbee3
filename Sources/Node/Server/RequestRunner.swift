import CQL
import Coordinator
import DataModel
import Messages
import Platform
import Primitives
import Query

/// Runs client requests, each on a fiber of the loop on which it arrived.
///
/// **Thread safety**: all methods, from any thread; `fibers(loop:)` from that loop only.
final class RequestRunner: Sendable {
    let engine: QueryEngine
    let admission: AdmissionController
    private let pools: [FiberPool]
    let requests: LoopCounter
    let failures: LoopCounter

    init(
        engine: QueryEngine, background: any Background, network: any Network, time: any TimeSource, seed: UInt64,
        node: UUID,
        admission: AdmissionController
    ) {
        self.engine = engine
        self.admission = admission
        requests = LoopCounter(loops: network.loops)
        failures = LoopCounter(loops: network.loops)
        pools = (0..<network.loops).map { loop in
            let identifiers = IdentifierSource(
                seed: seed &+ UInt64(loop), clockSequenceAndNode: node.low &+ UInt64(loop))
            let statements = LoopStatements()
            return FiberPool(loop: loop, network: network, background: background, time: time) {
                RequestContext(identifiers: identifiers, statements: statements, budget: admission)
            }
        }
        for pool in pools { pool.keepTrimmed() }
    }

    /// The fibers for client requests on a loop.
    @inline(__always) func fibers(loop: Int) -> FiberPool { pools[loop] }

    /// The context of the request that runs on a fiber of `fibers(loop:)`.
    @inline(__always) static func context(of fiber: Fiber) -> RequestContext {
        // All fibers of these pools are made with one, above.
        unsafeDowncast(fiber.attachment.unsafelyUnwrapped, to: RequestContext.self)
    }

    /// The client's error for a write that could not be logged.
    static func notLogged(_ failure: String) -> ServerError {
        ServerError(.serverError, "the write could not be logged and is not acknowledged: \(failure)")
    }

    static let overloaded = ServerError(.overloaded, "too many requests are under way; slow down and try again")
}
