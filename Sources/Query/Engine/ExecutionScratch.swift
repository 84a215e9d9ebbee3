import CQL
import DataModel
import Primitives

/// The memory that executing requests uses again and again: one for each thread that executes.
///
/// **Thread safety**: one request at a time.
public final class ExecutionScratch {
    var space: Workspace

    /// - Parameters:
    ///   - seed: of `uuid()`; different for every thread and start.
    ///   - clockSequenceAndNode: the low half of time-based identifiers; different for every thread of every node.
    public init(seed: UInt64, clockSequenceAndNode: UInt64) {
        space = Workspace(
            context: EvaluationContext(
                nowMicroseconds: 0, random: SeededRandom(seed: seed), clockSequenceAndNode: clockSequenceAndNode))
    }
}

/// What a request works in; passed down as `inout`, its parts apart where they are used together.
struct Workspace: ~Copyable {
    var mutations = MutationWriter()
    var key = ByteWriter()
    /// A path, a bound or a second key.
    var path = ByteWriter()
    /// The value evaluated last.
    var value = ByteWriter()
    var projector = RowProjector()
    var context: EvaluationContext

    init(context: EvaluationContext) { self.context = context }

    /// Empties `mutations`; after an unusually large write its memory goes too.
    mutating func beginMutations() {
        if mutations.count > 1 << 20 { mutations = MutationWriter() } else { mutations.removeAll() }
    }
}
