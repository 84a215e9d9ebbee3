import DataModel
import Messages
import Primitives

/// Reads a range of keys whose parts have different replicas.
///
/// 1. The range is cut into stretches where the replicas change.
/// 2. Stretches are read in rounds: one stretch at first, and twice as many whenever a round returned fewer rows than
///    wanted.
/// 3. Each stretch is a `ReadOperation`. The answers are returned in read order, up to the first that does not cover
///    its stretch; the next read continues there.
final class RangeOperation: Operation {
    private let command: ReadCommand
    private let consistency: Consistency
    private var stretches: [(range: KeyRange, replicas: [Int])] = []
    private var next = 0
    private var atOnce = 1
    private var answers: [ReadAnswer?] = []
    private var running = 0
    private var rows = 0

    /// The maximum number of stretches read at once.
    static let atOnceLimit = 32

    init(
        _ coordinator: Coordinator, cluster: ClusterView, command: ReadCommand, consistency: Consistency,
        deadline: Int64
    ) {
        self.command = command
        self.consistency = consistency
        super.init(coordinator, cluster: cluster, deadline: deadline)
    }

    override func start(now: Int64) {
        stretches = cluster.stretches(table: command.table, command.range)
        if command.reversed { stretches.reverse() }
        answers = stretches.map { _ in nil }
        round(now: now)
    }

    private func round(now: Int64) {
        guard let placement = cluster.placement(of: command.table) else {
            viewLacksTable = next == 0
            hasMetUnknownTable = true
            return finish(.failure(.unknownTable(command.table)))
        }
        guard !stretches.isEmpty else {
            return finish(
                .failure(
                    ServerError(
                        .unavailable, "no replica of the requested range is alive",
                        detail: .unavailable(consistency: consistency, required: 1, alive: 0))))
        }
        let end = min(stretches.count, next + atOnce)
        let these = next..<end
        next = end
        running += these.count
        for index in these {
            var part = command
            part.range = stretches[index].range
            let read = ReadOperation(
                coordinator, cluster: cluster, command: part, replicas: stretches[index].replicas, placement: placement,
                latencies: nil,
                consistency: consistency, deadline: deadline)
            coordinator.beginInner(read, of: self, now: now) { result, now in self.read(index, result, now: now) }
            if isFinished { return }
        }
    }

    private func read(_ index: Int, _ result: Result<Outcome, ServerError>, now: Int64) {
        if isFinished { return }
        running -= 1
        switch result {
        case .failure(let error): return finish(.failure(error))
        case .success(.stretch(let found)):
            answers[index] = found
            rows += found.rowCount
        case .success: return finish(.failure(ServerError(.serverError, "a read ended without an answer")))
        }
        guard running == 0 else { return }
        let isCut = answers[..<next].contains { $0?.coveredTo != nil }
        if isCut || next == stretches.count || rows >= command.rowLimit {
            var given: [ReadAnswer] = []
            for (place, answer) in answers[..<next].enumerated() {
                guard var answer else { break }
                // If another stretch follows, the read has covered exactly up to the end of this one.
                let isLast = place == stretches.count - 1
                if answer.coveredTo == nil && !isLast && place == next - 1 {
                    answer.coveredTo = command.reversed ? stretches[place].range.start : stretches[place].range.end
                    given.append(answer)
                    break
                }
                given.append(answer)
                if answer.coveredTo != nil { break }
            }
            return finish(.success(.read(given)))
        }
        atOnce = min(RangeOperation.atOnceLimit, atOnce * 2)
        round(now: now)
    }

    // At the deadline the inner reads, which have the same deadline, report how many replicas answered.
}
