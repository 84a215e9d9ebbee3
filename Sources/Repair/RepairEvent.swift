import Messages
import Primitives

/// What happened to a repair.
public enum RepairEvent: Sendable, Equatable {
    /// The first event.
    case begin
    /// A node answered, or the transport says that it will not (`failed`). One that comes too late is passed over.
    case reply(request: UInt64, PeerReply)
    /// A node is held for dead: ranges it is a replica of fail.
    case nodeDown(UUID)
    /// Ranges that were not begun yet may be again.
    case nodeUp(UUID)
    /// Time goes by. To be told when `nextDeadline` is reached.
    case tick
    /// Stop: what is under way is dropped.
    case cancel
}

/// What a repair wants done, in this order.
public enum RepairEffect: Sendable, Equatable {
    /// Ask a node, this one among them, and give `reply` with the number. After `timeout` microseconds nobody waits for it any more.
    case send(request: UInt64, to: UUID, PeerRequest, timeout: Int64)
    /// More is done: what to keep for a restart. Not in a preview.
    case progress(RepairProgress)
    /// The last effect.
    case finished(RepairReport)
}
