import DataModel
import Primitives

extension Reconciler {
    /// The merged answer and, for each replica, the operations it lacks (empty when none).
    public struct Outcome: Sendable {
        public var answer: ReadAnswer
        public var lacking: [[UInt8]]
    }

    /// Merges the answers of several replicas. Only keys that every answer covers are merged: beyond them a replica may
    /// hold more than it could send.
    /// - Throws: `ByteError` when an answer does not parse. Answers of other nodes were validated when they arrived.
    public func reconcile(_ answers: [ReadAnswer], of command: ReadCommand) throws(ByteError) -> Outcome {
        var answer = ReadAnswer(
            coveredTo: ReadAnswer.commonCover(answers, reversed: command.reversed), operations: [], rowCount: 0)
        let lacking: [[UInt8]]
        (answer.operations, answer.rowCount, lacking) = try merge(
            answers.map(\.operations), in: answer.covered(of: command))
        return Outcome(answer: answer, lacking: lacking)
    }
}

extension ReadAnswer {
    /// Returns the end of the range that all answers cover; nil when all cover the whole range.
    fileprivate static func commonCover(_ answers: [ReadAnswer], reversed: Bool) -> [UInt8]? {
        answers.compactMap(\.coveredTo).min { reversed ? compareBytes($0, $1) > 0 : compareBytes($0, $1) < 0 }
    }
}
