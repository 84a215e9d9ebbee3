import DataModel
import Messages
import Primitives

/// Reads one stretch of keys that has the same replicas throughout.
///
/// 1. As many live replicas as the level needs are asked, the nearest for the rows, the others for a digest. Too few: Unavailable.
/// 2. A replica that fails is replaced by the next; one that is silent for `speculativeDelay` is joined by the next.
/// 3. With enough answers, at least one of them rows, and all digests equal, that answer stands.
/// 4. Else all that answered are asked for rows, and what they hold is reconciled.
/// 5. Replicas that lack something are sent it, and the answer waits for them: a later read at the same level cannot see less (monotonic
///    quorum reads).
final class ReadOperation: Operation {
    private enum Phase { case asking, reconciling, repairing }

    private struct Source {
        let node: Int
        /// Asked for a digest first.
        var digestOnly: Bool
        var digest: UUID?
        var answer: ReadAnswer?
        var hasFailed = false
    }

    private let command: ReadCommand
    private let consistency: Consistency
    private var candidates: [Int]
    private var sources: [Source] = []
    private var phase = Phase.asking
    private var count: AnswerCount
    private var failures = 0
    private var failureText = ""
    private var merged: ReadAnswer?
    private var repairsLeft = 0
    private let replication: Replication

    /// - Parameter replicas: natural replicas in the order in which they are asked.
    init(
        _ coordinator: Coordinator, cluster: ClusterView, command: ReadCommand, replicas: [Int], replication: Replication,
        consistency: Consistency, deadline: Int64
    ) {
        self.command = command
        self.consistency = consistency
        self.replication = replication
        count = AnswerCount(consistency, replication, near: cluster.dataCenter(cluster.local))
        candidates = replicas.filter { cluster.isAlive[$0] && AnswerCount.mayAnswer(consistency, isNear: cluster.isNear[$0]) }
        super.init(coordinator, cluster: cluster, deadline: deadline)
    }

    override func start(now: Int64) {
        guard count.couldBeMet(with: candidates.map { (cluster.dataCenter($0), cluster.isNear[$0]) }) else {
            return finish(.failure(CoordinatorErrors.unavailable(consistency, required: count.required, alive: candidates.count)))
        }
        // Of each data center only as many as it must give.
        var planned = count
        var chosen: [Int] = []
        for node in candidates where !planned.isMet {
            let before = planned
            planned.add(dataCenter: cluster.dataCenter(node), isNear: cluster.isNear[node])
            if consistency == .eachQuorum && !before.gains(from: planned) { continue }
            chosen.append(node)
        }
        candidates.removeAll { chosen.contains($0) }
        for (index, node) in chosen.enumerated() { askFirst(node, digestOnly: index > 0, now: now) }
        if !isFinished, !candidates.isEmpty { wake(at: now + coordinator.limits.speculativeDelay) }
    }

    private func askFirst(_ node: Int, digestOnly: Bool, now: Int64) {
        sources.append(Source(node: node, digestOnly: digestOnly))
        ask(node, digestOnly ? .digest(command) : .read(command), tag: sources.count - 1, now: now)
    }

    override func woken(now: Int64) {
        guard phase == .asking, !candidates.isEmpty else { return }
        coordinator.count { $0.speculativeReads += 1 }
        askFirst(candidates.removeFirst(), digestOnly: false, now: now)
        if !candidates.isEmpty { wake(at: now + coordinator.limits.speculativeDelay) }
    }

    override func receive(_ reply: PeerReply, tag: Int, from node: Int, now: Int64) {
        if isFinished { return }
        switch reply {
        case .failed(_, let text): failed(tag, text, now: now)
        case .read(let answer):
            sources[tag].answer = answer
            if phase == .asking {
                sources[tag].digest = answer.digest
                count.add(dataCenter: cluster.dataCenter(node), isNear: cluster.isNear[node])
                compare(now: now)
            } else if phase == .reconciling {
                reconcileIfComplete(now: now)
            }
        case .digest(let digest):
            sources[tag].digest = digest
            count.add(dataCenter: cluster.dataCenter(node), isNear: cluster.isNear[node])
            if phase == .asking { compare(now: now) }
        case .done:
            guard phase == .repairing else { return }
            repairsLeft -= 1
            if repairsLeft == 0, let merged { finish(.success(.read([merged]))) }
        default: failed(tag, "an answer of another kind", now: now)
        }
    }

    private func failed(_ tag: Int, _ text: String, now: Int64) {
        sources[tag].hasFailed = true
        failures += 1
        failureText = text
        if phase == .asking, !candidates.isEmpty {
            return askFirst(candidates.removeFirst(), digestOnly: false, now: now)
        }
        let isPossible: Bool
        switch phase {
        case .asking:
            let waiting = sources.filter { $0.digest == nil && !$0.hasFailed }
            isPossible =
                count.couldBeMet(with: waiting.map { (cluster.dataCenter($0.node), cluster.isNear[$0.node]) })
                && sources.contains { $0.answer != nil || (!$0.digestOnly && !$0.hasFailed) }
        case .reconciling, .repairing: isPossible = false
        }
        if isPossible { return }
        if phase == .asking, let index = sources.firstIndex(where: { $0.digestOnly && !$0.hasFailed && $0.answer == nil }),
            count.couldBeMet(
                with: sources.filter { $0.digest == nil && !$0.hasFailed }.map { (cluster.dataCenter($0.node), cluster.isNear[$0.node]) })
        {
            // The one asked for rows failed: another that has a digest is asked for them.
            sources[index].digestOnly = false
            return ask(sources[index].node, .read(command), tag: index, now: now)
        }
        finish(
            .failure(
                CoordinatorErrors.readFailure(
                    consistency, received: count.total, required: count.required, failures: failures,
                    hasData: sources.contains { $0.answer != nil }, why: failureText)))
    }

    /// With enough answers: the same from all, or rows from all.
    private func compare(now: Int64) {
        guard count.isMet, let data = sources.first(where: { $0.answer != nil }), let answer = data.answer else { return }
        let answered = sources.filter { $0.digest != nil }
        if answered.allSatisfy({ $0.digest == data.digest }) { return finish(.success(.read([answer]))) }
        coordinator.count { $0.digestMismatches += 1 }
        phase = .reconciling
        for index in sources.indices where sources[index].digest != nil && sources[index].answer == nil {
            ask(sources[index].node, .read(command), tag: index, now: now)
        }
        reconcileIfComplete(now: now)
    }

    private func reconcileIfComplete(now: Int64) {
        let answered = sources.indices.filter { sources[$0].digest != nil }
        let answers = answered.compactMap { sources[$0].answer }
        guard answers.count == answered.count else { return }
        let outcome: Reconciler.Outcome
        do throws(ByteError) { outcome = try coordinator.reconciler.reconcile(answers, of: command) } catch {
            return finish(.failure(ServerError(.serverError, "a replica's answer does not parse: \(error)")))
        }
        merged = outcome.answer
        phase = .repairing
        for (place, index) in answered.enumerated() where !outcome.lacking[place].isEmpty {
            repairsLeft += 1
            coordinator.count { $0.readRepairs += 1 }
            var mutation = MutationWriter(capacity: outcome.lacking[place].count + 32)
            mutation.beginTable(command.table)
            mutation.out.write(outcome.lacking[place])
            mutation.endTable()
            ask(sources[index].node, .repair(mutation.out.toArray()), tag: index, now: now)
        }
        if repairsLeft == 0 { finish(.success(.read([outcome.answer]))) }
    }

    override func expire(now: Int64) {
        if isFinished { return }
        coordinator.count { $0.timeouts += 1 }
        // While repairs are under way, the level is not met: one that is not repaired counts as silent.
        let received = phase == .asking ? count.total : max(0, count.required - 1)
        finish(
            .failure(
                CoordinatorErrors.readTimeout(
                    consistency, received: received, required: count.required, hasData: sources.contains { $0.answer != nil })))
    }
}

extension AnswerCount {
    /// Whether a level asks replicas of other data centers at all.
    static func mayAnswer(_ consistency: Consistency, isNear: Bool) -> Bool {
        switch consistency {
        case .localOne, .localQuorum, .localSerial: isNear
        default: true
        }
    }
}
