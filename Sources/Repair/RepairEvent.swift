import Messages
import Primitives

/// An event a repair reacts to.
public enum RepairEvent: Sendable, Equatable {
    /// Starts the repair.
    case begin
    /// A node replied, or the transport gave up on the request (`failed`). Replies to requests no longer under way are
    /// ignored.
    case reply(request: UInt64, PeerReply)
    /// A node is considered down: ranges it replicates fail.
    case nodeDown(UUID)
    /// A node is up: ranges that have not begun may use it again.
    case nodeUp(UUID)
    /// Time has passed. Due when `nextDeadline` is reached.
    case tick
    /// Stops the repair and drops all work under way.
    case cancel
}

/// An action the repair requests. Perform effects in the order given.
public enum RepairEffect: Sendable, Equatable {
    /// Send a request to a node, which may be this one, and pass its reply back as `reply` with the same number. The
    /// repair ignores replies that come later than `timeout` microseconds.
    case send(request: UInt64, to: UUID, PeerRequest, timeout: Int64)
    /// More work is done: save this for a restart. Not emitted in a preview.
    case progress(RepairProgress)
    /// The repair has ended. Always the last effect.
    case finished(RepairReport)
}
