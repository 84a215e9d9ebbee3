import DataModel
import Messages
import Primitives

/// Reads one stretch of keys that has the same replicas throughout.
///
/// 1. Asks as many live replicas as the level needs: the nearest for rows, the others for a digest. With too few:
///    Unavailable.
/// 2. A replica that fails is replaced by the next. When a replica is silent for the time given by the table's
///    `speculative_retry`, the next is asked as well.
/// 3. With enough answers, at least one of them with rows, and all digests equal, that answer is the result.
/// 4. Otherwise all replicas that answered are asked for rows. When enough of them for the level have sent rows, their
///    answers are reconciled.
/// 5. Replicas that lack data are sent it. The result waits until enough replicas for the level have all of it, so that
///    a later read at the same level cannot return less (monotonic quorum reads).
final class ReadOperation: Operation {
    private enum Phase { case asking, reconciling, repairing }

    private struct Source {
        let node: Int
        /// Whether the replica was asked for rows, not only for a digest.
        var isAskedForRows: Bool
        var digest: UUID?
        var answer: ReadAnswer?
        var hasFailed = false
        /// Whether the replica has all data of the merged answer.
        var isWhole = false
        var isUnderRepair = false
    }

    private var command: ReadCommand
    private var consistency: Consistency
    private var candidates: [Int]
    private var sources: [Source] = []
    private var phase = Phase.asking
    /// The required count, with no answers added.
    private var level: ResponseTracker
    private var failures = 0
    private var failureText = ""
    private var merged: ReadAnswer?
    private var reconcilingSince: Int64 = 0
    /// Replies to repairs of an earlier attempt are ignored.
    private var attempt = 0

    /// A tag is an index into `sources`; tags of repairs add the attempt times this.
    private static let attemptStep = 1 << 16

    private var placement: TablePlacement
    private var latencies: TableLatencies?
    private var startedAt: Int64 = 0
    private var isMeasured = false

    /// - Parameters:
    ///   - replicas: the live natural replicas, in the order in which they are asked.
    ///   - latencies: of the table's reads by key; nil: not measured, and another replica is asked after
    ///     `speculativeDelay`.
    init(
        _ coordinator: Coordinator, cluster: ClusterView, command: ReadCommand, replicas: [Int],
        placement: TablePlacement,
        latencies: TableLatencies?, consistency: Consistency, deadline: Int64
    ) {
        self.command = command
        self.consistency = consistency
        self.placement = placement
        self.latencies = latencies
        level = ResponseTracker(consistency, placement.replication, near: cluster.dataCenter(cluster.local))
        candidates = replicas
        super.init(coordinator, cluster: cluster, deadline: deadline)
        dropUnableCandidates()
    }

    /// Prepares an operation that has ended for another read by key.
    func reuse(
        cluster: ClusterView, command: ReadCommand, token: Int64, placement: TablePlacement,
        latencies: TableLatencies?, consistency: Consistency, deadline: Int64
    ) {
        reset(cluster: cluster, deadline: deadline)
        self.command = command
        self.consistency = consistency
        self.placement = placement
        self.latencies = latencies
        phase = .asking
        level = ResponseTracker(consistency, placement.replication, near: cluster.dataCenter(cluster.local))
        candidates.removeAll(keepingCapacity: true)
        cluster.appendLive(of: token, placement.table, to: &candidates)
        failures = 0
        reconcilingSince = 0
        attempt = 0
        startedAt = 0
        isMeasured = false
        dropUnableCandidates()
    }

    private func dropUnableCandidates() {
        candidates.removeAll { [cluster, consistency] in
            !ResponseTracker.mayAnswer(consistency, isNear: cluster.isNear[$0])
        }
    }

    override var asReusableRead: ReadOperation? { self }

    /// Drops the answers of a read that has ended.
    func removeAnswers() {
        sources.removeAll(keepingCapacity: true)
        merged = nil
        if !failureText.isEmpty { failureText = "" }
    }

    override func start(now: Int64) {
        guard level.couldBeMet(with: candidates, in: cluster) else {
            return finish(
                .failure(CoordinatorErrors.unavailable(consistency, required: level.required, alive: candidates.count)))
        }
        startedAt = now
        // Ask from each data center only as many as the level needs there.
        var planned = level
        var next = 0
        while next < candidates.count && !planned.isMet {
            let before = planned
            planned.add(candidates[next], in: cluster)
            if consistency == .eachQuorum && !before.gains(from: planned) {
                next += 1
            } else {
                askFirst(candidates.remove(at: next), rows: sources.isEmpty, now: now)
            }
        }
        let delay = latencies.map(\.delay) ?? coordinator.limits.speculativeDelay
        if delay == 0 && !candidates.isEmpty {
            coordinator.count { $0.speculativeReads += 1 }
            askFirst(candidates.removeFirst(), rows: false, now: now)
        }
        // After the speculative read of ALWAYS, ask another replica only if all of them are silent.
        if let delay, !candidates.isEmpty {
            wake(at: now + (delay == 0 ? coordinator.limits.speculativeDelay : delay))
        }
    }

    /// Records the read's latency once: when there are enough answers, or at the deadline.
    private func measure(now: Int64) {
        if isMeasured { return }
        isMeasured = true
        latencies?.note(now - startedAt)
    }

    private func askFirst(_ node: Int, rows: Bool, now: Int64) {
        sources.append(Source(node: node, isAskedForRows: rows))
        ask(node, rows ? .read(command) : .digest(command), tag: sources.count - 1, now: now)
    }

    /// Counts the sources that match.
    private func count(_ isCounted: (Source) -> Bool) -> ResponseTracker {
        var count = level
        for index in sources.indices where isCounted(sources[index]) { count.add(sources[index].node, in: cluster) }
        return count
    }

    private var answered: ResponseTracker { count { $0.digest != nil } }

    override func woken(now: Int64) {
        guard phase != .repairing, !candidates.isEmpty else { return }
        // Replicas that were asked for rows only now get the full delay again.
        if phase == .reconciling, now < reconcilingSince + coordinator.limits.speculativeDelay {
            return wake(at: reconcilingSince + coordinator.limits.speculativeDelay)
        }
        coordinator.count { $0.speculativeReads += 1 }
        for source in sources where source.digest == nil && !source.hasFailed {
            coordinator.isSilent(source.node, in: cluster, for: now - startedAt, now: now)
        }
        askFirst(candidates.removeFirst(), rows: true, now: now)
        if !candidates.isEmpty { wake(at: now + coordinator.limits.speculativeDelay) }
    }

    override func receive(_ reply: PeerReply, tag: Int, from node: Int, now: Int64) {
        if isFinished { return }
        let isRepair = tag >= ReadOperation.attemptStep
        if isRepair, tag / ReadOperation.attemptStep != attempt { return }
        let tag = tag % ReadOperation.attemptStep
        switch reply {
        case .failed(_, let text): failed(tag, text, isRepair: isRepair, now: now)
        case .read(let answer):
            sources[tag].answer = answer
            if phase == .repairing { return }
            if phase == .asking {
                sources[tag].digest = answer.digest
                compare(now: now)
            } else {
                reconcileIfEnough(now: now)
            }
        case .digest(let digest):
            // A digest that arrives later is useless: rows are on their way.
            guard phase == .asking else { return }
            sources[tag].digest = digest
            compare(now: now)
        case .done:
            guard isRepair else { return }
            sources[tag].isWhole = true
            finishIfEnoughHaveAllData()
        default: failed(tag, "an answer of another kind", isRepair: isRepair, now: now)
        }
    }

    private func failed(_ tag: Int, _ text: String, isRepair: Bool, now: Int64) {
        // Ignore replies that are no longer needed.
        if phase == .repairing && !isRepair { return }
        if phase == .reconciling && !sources[tag].isAskedForRows { return }
        sources[tag].hasFailed = true
        sources[tag].answer = nil
        failures += 1
        failureText = text
        if isRepair {
            if count({ !$0.hasFailed && ($0.isWhole || $0.isUnderRepair) }).isMet { return }
            // Reconcile again, with the answers of the other replicas.
            phase = .reconciling
            reconcilingSince = now
            for index in sources.indices {
                sources[index].isWhole = false
                sources[index].isUnderRepair = false
            }
        }
        let isAsking = phase == .asking
        let hoped = count { !$0.hasFailed && (isAsking || $0.isAskedForRows) }
        if hoped.isMet && sources.contains(where: { !$0.hasFailed && $0.isAskedForRows }) {
            return isAsking ? () : reconcileIfEnough(now: now)
        }
        if let place = replacement(hoped) {
            askFirst(candidates.remove(at: place), rows: true, now: now)
            if hoped.couldBeMet(with: candidates + sources.suffix(1).map(\.node), in: cluster) { return }
        }
        finish(
            .failure(
                CoordinatorErrors.readFailure(
                    consistency, received: count { $0.digest != nil && !$0.hasFailed }.total, required: level.required,
                    failures: failures,
                    hasData: sources.contains { $0.answer != nil }, why: failureText)))
    }

    /// The index of the first candidate whose answer would help. If the level is met already but rows are missing, the
    /// first candidate.
    private func replacement(_ hoped: ResponseTracker) -> Int? {
        if hoped.isMet { return candidates.indices.first }
        return candidates.firstIndex { node in
            var later = hoped
            later.add(node, in: cluster)
            return hoped.gains(from: later)
        }
    }

    /// Compares the digests once there are enough answers.
    private func compare(now: Int64) {
        guard answered.isMet else { return }
        measure(now: now)
        guard let data = sources.indices.first(where: { sources[$0].answer != nil }) else { return }
        let digest = sources[data].digest
        var areEqual = true
        for index in sources.indices where sources[index].digest != nil && sources[index].digest != digest {
            areEqual = false
        }
        if areEqual || PlantedBugs.isOn(.digestsNotCompared), let answer = sources[data].answer {
            return finish(.success(.stretch(answer)))
        }
        coordinator.count { $0.digestMismatches += 1 }
        phase = .reconciling
        reconcilingSince = now
        for index in sources.indices where sources[index].digest != nil && sources[index].answer == nil {
            sources[index].isAskedForRows = true
            ask(sources[index].node, .read(command), tag: index, now: now)
        }
        reconcileIfEnough(now: now)
    }

    private func reconcileIfEnough(now: Int64) {
        guard count({ $0.answer != nil }).isMet else { return }
        let given = sources.indices.filter { sources[$0].answer != nil }
        let outcome: Reconciler.Outcome
        do throws(ByteError) {
            outcome = try coordinator.reconciler.reconcile(given.compactMap { sources[$0].answer }, of: command)
        } catch { return finish(.failure(ServerError(.serverError, "a replica's answer does not parse: \(error)"))) }
        merged = outcome.answer
        phase = .repairing
        attempt += 1
        for (place, index) in given.enumerated() {
            if outcome.lacking[place].isEmpty || !placement.rules.repairsReads || PlantedBugs.isOn(.readRepairOff) {
                sources[index].isWhole = true
                continue
            }
            coordinator.count { $0.readRepairs += 1 }
            let lacking = ReadAnswer(coveredTo: nil, operations: outcome.lacking[place], rowCount: 0)
            let mutations: [UInt8]
            do throws(ByteError) { mutations = try lacking.mutations(of: command.table) } catch {
                return finish(.failure(ServerError(.serverError, "what a replica lacks does not parse: \(error)")))
            }
            sources[index].isUnderRepair = true
            ask(sources[index].node, .repair(mutations), tag: attempt * ReadOperation.attemptStep + index, now: now)
        }
        finishIfEnoughHaveAllData()
    }

    private func finishIfEnoughHaveAllData() {
        if let merged, count({ $0.isWhole }).isMet { finish(.success(.stretch(merged))) }
    }

    override func expire(now: Int64) {
        if isFinished { return }
        coordinator.count { $0.timeouts += 1 }
        measure(now: now)
        let received: ResponseTracker
        switch phase {
        case .asking: received = answered
        case .reconciling: received = count { $0.answer != nil }
        case .repairing: received = count { $0.isWhole }
        }
        finish(
            .failure(
                CoordinatorErrors.readTimeout(
                    consistency, received: min(received.total, level.required - 1), required: level.required,
                    hasData: sources.contains { $0.answer != nil })))
    }
}

extension ResponseTracker {
    /// Whether the level uses answers from the replica's data center.
    static func mayAnswer(_ consistency: Consistency, isNear: Bool) -> Bool {
        switch consistency {
        case .localOne, .localQuorum, .localSerial: isNear
        default: true
        }
    }
}
