import DataModel
import Messages
import Primitives

/// One thing a request needs of other nodes.
public enum Step: Sendable {
    case write([UInt8], WriteType)
    case count([UInt8])
    case read(ReadCommand, consistency: Consistency, isByKey: Bool)
    case prepare(PaxosKey, reading: ReadCommand?, deadline: Int64)
    case propose(PaxosKey, Ballot, value: [UInt8], deadline: Int64)

    /// Whether it may be begun again although a part of it may have been done.
    public var mayBeginAgain: Bool {
        switch self {
        // The same mutations, with the same timestamps.
        case .write, .read, .prepare: true
        case .count, .propose: false
        }
    }
}

extension Step {
    /// The tables that it touches.
    public var tables: [UUID] {
        switch self {
        case .write(let mutations, _), .count(let mutations):
            return mutations.withUnsafeBytes { bytes in
                var found: [UUID] = []
                var reader = MutationReader(bytes)
                // Bytes that do not parse name no table: whoever asks meets the same error elsewhere.
                do throws(ByteError) { while try reader.nextTable() { found.append(reader.table) } } catch { return found }
                return found
            }
        case .read(let command, _, _): return [command.table]
        case .prepare(let key, _, _), .propose(let key, _, _, _): return [key.table]
        }
    }
}

/// A step that was begun; whoever began it waits for it, at once or later.
///
/// **Thread safety**: its loop only.
/// SAFETY: `@unchecked Sendable` for that reason.
public final class StartedStep: @unchecked Sendable {
    public let step: Step
    /// Monotonic microseconds.
    public let began: Int64
    public var result: Result<Outcome, ServerError>?
    /// Why it failed, when beginning it again may help.
    public var refusal: Coordinator.Refusal?
    /// Resumes the fiber that waits for the result.
    public var resume: (() -> Void)?

    public init(_ step: Step, began: Int64) {
        self.step = step
        self.began = began
    }

    /// Takes the result and lets the fiber that waits for it go on.
    public func finish(_ result: Result<Outcome, ServerError>) {
        self.result = result
        let waiting = resume
        resume = nil
        waiting?()
    }
}

/// Carries out the steps of requests, on the loop of the fiber that asks.
public protocol StepRunner: AnyObject {
    /// The newest members and schema that this node knows; nil before it belongs to a cluster.
    var view: ClusterView? { get }
    /// Monotonic microseconds.
    var now: Int64 { get }
    /// Begins a step. It may have its result when this returns.
    func start(_ step: Step, for request: CoordinatedRequest) -> StartedStep
    /// Waits for a step's result. A step that replicas refused because they know newer members, or do not know a table, is begun again.
    func finish(_ started: StartedStep, for request: CoordinatedRequest) throws(ServerError) -> Outcome
    /// Takes a place among this node's transactions on the partition and waits for those before it, but not for long.
    func takeTurn(_ key: PaxosKey) -> PartitionTurn
    /// Waits a while, at random, before another round of Paxos.
    /// - Parameter attempt: from 1; the longer the more rounds were lost.
    func rest(attempt: Int)
}

extension StepRunner {
    /// Carries out a step and waits for its result.
    func run(_ step: Step, for request: CoordinatedRequest) throws(ServerError) -> Outcome {
        try finish(start(step, for: request), for: request)
    }
}
