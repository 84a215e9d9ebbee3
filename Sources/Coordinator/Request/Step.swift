import DataModel
import Messages
import Primitives

/// One operation of a request that involves other nodes.
public enum Step: Sendable {
    case write([UInt8], WriteType)
    case count([UInt8])
    case read(ReadCommand, consistency: Consistency, isByKey: Bool)
    case prepare(PaxosKey, reading: ReadCommand?, deadline: Int64)
    case propose(PaxosKey, Ballot, value: [UInt8], deadline: Int64)

    /// Whether the step may be started again after it may have been partly executed.
    public var mayBeginAgain: Bool {
        switch self {
        // Repeating these is harmless: a repeated write has the same mutations and timestamps.
        case .write, .read, .prepare: true
        case .count, .propose: false
        }
    }
}

extension Step {
    /// The tables that the step reads or writes.
    public var tables: [UUID] {
        switch self {
        case .write(let mutations, _), .count(let mutations):
            return mutations.withUnsafeBytes { bytes in
                var found: [UUID] = []
                var reader = MutationReader(bytes)
                // Bytes that do not parse name no table; executing the step reports the error.
                do throws(ByteError) { while try reader.nextTable() { found.append(reader.table) } } catch {
                    return found
                }
                return found
            }
        case .read(let command, _, _): return [command.table]
        case .prepare(let key, _, _), .propose(let key, _, _, _): return [key.table]
        }
    }
}

/// A started step; its result is awaited at once or later.
///
/// **Thread safety**: only its loop.
/// SAFETY: `@unchecked Sendable` for that reason.
public final class StartedStep: @unchecked Sendable {
    public private(set) var step: Step
    /// Monotonic microseconds.
    public private(set) var began: Int64
    public var result: Result<Outcome, ServerError>?
    /// The reason for a failure, if starting the step again may help.
    public var refusal: Coordinator.Refusal?
    /// Resumes the fiber that waits for the result.
    public var resume: (() -> Void)?

    public init(_ step: Step, began: Int64) {
        self.step = step
        self.began = began
    }

    /// Prepares a step whose result was taken for another one.
    func reuse(for step: Step, began: Int64) {
        self.step = step
        self.began = began
        result = nil
        refusal = nil
        resume = nil
    }

    /// Takes the result.
    public func takeResult() -> Result<Outcome, ServerError>? {
        defer { result = nil }
        return result
    }

    /// Stores the result and resumes the waiting fiber.
    public func finish(_ result: Result<Outcome, ServerError>) {
        self.result = result
        let waiting = resume
        resume = nil
        waiting?()
    }
}

/// Runs the steps of requests, on the loop of the calling fiber.
public protocol StepRunner: AnyObject {
    /// The newest view of members and schema on this node; nil before it belongs to a cluster.
    var view: ClusterView? { get }
    /// Monotonic microseconds.
    var now: Int64 { get }
    /// Starts a step. Its result may be there when this returns.
    func start(_ started: StartedStep, for request: CoordinatedRequest)
    /// Waits for a step's result. Starts the step again when replicas refused it because they know newer members or do
    /// not know a table.
    func finish(_ started: StartedStep, for request: CoordinatedRequest) throws(ServerError) -> Outcome
    /// Joins this node's queue of transactions on the partition and waits, for a limited time, for those ahead.
    func takeTurn(_ key: PaxosKey) -> PartitionTurn
    /// Pauses for a random time before another round of Paxos.
    /// - Parameter attempt: from 1; the pause grows with it.
    func rest(attempt: Int)
}
