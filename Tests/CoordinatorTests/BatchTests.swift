import DataModel
import Messages
import Primitives
import Testing
import VirtualCluster

@testable import Cluster
@testable import Coordinator

@Suite struct BatchTests {
    /// A batch that sets column 0 of one row in each of several partitions.
    struct Batch {
        let number: UInt8
        let tokens: [Int64]

        func key(_ partition: Int) -> [UInt8] { Sample.key(token: tokens[partition], UInt8(partition), [number]) }
        var mutations: [UInt8] {
            tokens.indices.flatMap { place in
                Sample.put(
                    key(place), Int64(number), at: 1000 + Int64(number),
                    table: place % 2 == 0 ? VirtualCluster.table : VirtualCluster.otherTable)
            }
        }
    }

    static func cluster(
        _ count: Int, seed: UInt64, factor: Int = 2, locations: [Location] = []
    ) -> VirtualCluster {
        let options = ["class": "SimpleStrategy", "replication_factor": "\(factor)"]
        let cluster = VirtualCluster(count, seed: seed, options: options, locations: locations, tokensPerNode: 4)
        cluster.otherOptions = options
        return cluster
    }

    static func batch(_ cluster: VirtualCluster, _ number: UInt8, partitions: Int = 2) -> Batch {
        Batch(number: number, tokens: (0..<partitions).map { _ in Int64(bitPattern: cluster.random.next()) })
    }

    // MARK: Writing a batch

    @Test func singlePartitionBatchIsNotLogged() {
        let cluster = Self.cluster(4, seed: 1)
        let one =
            Sample.put(Sample.key(token: 5, 1, [1]), 1, at: 5) + Sample.put(Sample.key(token: 5, 1, [2]), 2, at: 5)
        #expect(cluster.write(on: 0, one, .quorum, type: .batch)?.value != nil)
        #expect(cluster.sent[.storeBatch] == nil && cluster.sent[.write] == 2)
        #expect(cluster.write(on: 0, Self.batch(cluster, 1).mutations, .quorum, type: .unloggedBatch)?.value != nil)
        #expect(cluster.sent[.storeBatch] == nil)
    }

    @Test func batchIsStoredOnTwoNodesBeforeItsWrites() {
        let cluster = Self.cluster(5, seed: 2)
        var order: [PeerRequest.Verb] = []
        cluster.fate = { from, to, request in
            order.append(request.verb)
            if case .storeBatch = request { #expect(to != from) }
            if case .removeBatch = request { #expect(cluster.nodes[to].replica.batches().count == 1) }
            return .deliver
        }
        #expect(cluster.write(on: 0, Self.batch(cluster, 1, partitions: 3).mutations, .all, type: .batch)?.value != nil)
        cluster.run()
        #expect(
            order.prefix(2) == [.storeBatch, .storeBatch] && order.suffix(2) == [.removeBatch, .removeBatch], "\(order)"
        )
        #expect(order.filter { $0 == .storeBatch || $0 == .removeBatch }.count == 4)
        #expect(cluster.nodes.allSatisfy { $0.replica.batches().isEmpty })
        #expect(cluster.idle(0))
    }

    @Test func unavailableBatchStoresNothing() {
        let cluster = Self.cluster(4, seed: 3, factor: 1)
        cluster.dead = [1, 2]
        let tokens = (0..<4).map { cluster.ringNodes[$0].claims[0].token }
        let result = cluster.write(
            on: 0, Batch(number: 1, tokens: [tokens[0], tokens[1]]).mutations, .one, type: .batch)
        #expect(result?.error?.detail == .unavailable(consistency: .one, required: 1, alive: 0))
        #expect(cluster.sent.isEmpty && cluster.hints.isEmpty)
    }

    @Test func unansweredBatchStoreIsABatchlogTimeout() {
        for loses in [false, true] {
            let cluster = Self.cluster(4, seed: 4)
            var stores = 0
            cluster.fate = { _, _, request in
                if case .storeBatch = request { stores += 1 }
                return stores == 2 ? (loses ? .lose : .loseReply) : .deliver
            }
            let result = cluster.write(on: 0, Self.batch(cluster, 1).mutations, .quorum, type: .batch)
            #expect(
                result?.error?.detail
                    == .writeTimeout(consistency: .two, received: 1, required: 2, writeType: "BATCH_LOG"),
                "\(String(describing: result))")
            #expect(cluster.now == cluster.limits.writeTimeout && cluster.sent[.write] == nil && cluster.idle(0))
            #expect(cluster.nodes.map { $0.replica.batches().count }.reduce(0, +) == (loses ? 1 : 2))
        }
    }

    @Test func failedBatchlogNodeIsReplaced() {
        let cluster = Self.cluster(5, seed: 5)
        cluster.fate = { _, to, request in
            if case .storeBatch = request { return to == 1 || to == 2 ? .fail(.overloaded) : .deliver }
            return .deliver
        }
        for number in 1...10 {
            #expect(
                cluster.write(on: 0, Self.batch(cluster, UInt8(number)).mutations, .quorum, type: .batch)?.value != nil)
        }
        // When only one other node can store it, the coordinator stores it too.
        cluster.fate = { _, to, request in
            if case .storeBatch = request { return to == 3 || to == 0 ? .deliver : .fail(.connectionLost) }
            if case .removeBatch = request { return .lose }
            return .deliver
        }
        #expect(cluster.write(on: 0, Self.batch(cluster, 20).mutations, .quorum, type: .batch)?.value != nil)
        cluster.run()
        #expect(cluster.nodes.map { $0.replica.batches().count } == [1, 0, 0, 1, 0])
        // One copy is not enough while other nodes are up: it could be lost with its node.
        let writes = cluster.sent[.write]
        cluster.fate = { _, to, request in
            if case .storeBatch = request, to != 0 { .fail(.connectionLost) } else { .deliver }
        }
        #expect(
            cluster.write(on: 0, Self.batch(cluster, 22).mutations, .quorum, type: .batch)?.error?.detail
                == .writeFailure(consistency: .two, received: 0, required: 2, failures: 4, writeType: "BATCH_LOG"))
        #expect(cluster.sent[.write] == writes)
        cluster.fate = { _, _, request in if case .storeBatch = request { .fail(.storage) } else { .deliver } }
        let result = cluster.write(on: 0, Self.batch(cluster, 21).mutations, .quorum, type: .batch)
        #expect(
            result?.error?.detail
                == .writeFailure(consistency: .two, received: 0, required: 2, failures: 4, writeType: "BATCH_LOG"))
        #expect(cluster.sent[.write] == writes)
    }

    @Test func writeTimeoutStartsAfterBatchStoreAndKeepsBatch() {
        let cluster = Self.cluster(5, seed: 6)
        cluster.fate = { _, _, request in
            switch request {
            case .storeBatch: .delay(1_500_000)
            case .write: .lose
            default: .deliver
            }
        }
        let batch = Self.batch(cluster, 1)
        let result = cluster.write(on: 0, batch.mutations, .one, type: .batch)
        #expect(result?.error?.detail == .writeTimeout(consistency: .one, received: 0, required: 1, writeType: "BATCH"))
        #expect(cluster.now > 3_400_000 && cluster.now < 3_600_000 && cluster.sent[.removeBatch] == nil)
        // The coordinator's hints are lost; batchlog replay still applies the batch.
        cluster.hints = []
        cluster.fate = nil
        cluster.replayPeriodically()
        cluster.run(for: 30_000_000)
        #expect(cluster.holders(batch) == [2, 2])
        #expect(cluster.nodes.allSatisfy { $0.replica.batches().isEmpty })
    }

    /// At ANY, hints satisfy the client, but the batch stays in the batchlog.
    @Test func batchWithOnlyHintsIsNotRemoved() {
        let cluster = Self.cluster(5, seed: 7, factor: 1)
        let batch = Self.batch(cluster, 1, partitions: 6)
        cluster.fate = { _, _, request in if case .write = request { .fail(.storage) } else { .deliver } }
        #expect(cluster.write(on: 0, batch.mutations, .any, type: .batch)?.value != nil)
        cluster.run()
        #expect(cluster.sent[.removeBatch] == nil)
        #expect(cluster.nodes.map { $0.replica.batches().count }.reduce(0, +) == 2)
    }

    // MARK: Choice of batchlog nodes

    private static func chosen(_ cluster: VirtualCluster, _ seed: UInt64) -> [Int] {
        var random = SeededRandom(seed: seed)
        return cluster.view(0).chooseBatchlogNodes(random: &random)
    }

    @Test func batchlogNodesAreOnOtherRacks() {
        func location(_ rack: String, _ dataCenter: String = "dc") -> Location {
            Location(dataCenter: dataCenter, rack: rack)
        }
        let cluster = Self.cluster(
            9, seed: 8,
            locations: [
                location("a"), location("a"), location("b"), location("b"), location("c"), location("c"), location("b"),
                location("x", "far"),
                location("y", "far"),
            ])
        for seed in 0..<50 {
            let order = Self.chosen(cluster, UInt64(seed))
            #expect(order.count == 6 && order.last == 1 && !order.contains(0))
            let first = Set(order.prefix(2).map { cluster.ringNodes[$0].location.rack })
            #expect(first == ["b", "c"])
        }
        cluster.dead = [2, 3, 6]
        cluster.ringNodes[4].state = .leaving(heirs: [])
        #expect(Self.chosen(cluster, 1) == [5, 1])
        cluster.dead = [2, 3, 6, 5]
        #expect(Self.chosen(cluster, 1) == [1])
        cluster.dead = [1, 2, 3, 4, 5, 6]
        #expect(Self.chosen(cluster, 1) == [])
        #expect(Set((0..<50).map { Self.chosen(Self.cluster(4, seed: 1), $0)[0] }) == [1, 2, 3])
    }

    @Test func coordinatorStoresBatchWhenOneOtherNodeIsAlive() {
        let cluster = Self.cluster(3, seed: 14, factor: 3)
        cluster.dead = [1]
        cluster.fate = { _, _, request in if case .removeBatch = request { .lose } else { .deliver } }
        #expect(cluster.write(on: 0, Self.batch(cluster, 1).mutations, .quorum, type: .batch)?.value != nil)
        cluster.run()
        #expect(cluster.nodes.map { $0.replica.batches().count } == [1, 0, 1])
    }

    @Test func coordinatorStoresBatchWhenNoOtherNodeIsAlive() {
        let cluster = Self.cluster(3, seed: 9, factor: 3)
        cluster.dead = [1, 2]
        cluster.fate = { _, to, request in
            if case .removeBatch = request { return .lose }
            return to == 0 ? .deliver : .lose
        }
        #expect(cluster.write(on: 0, Self.batch(cluster, 1).mutations, .one, type: .batch)?.value != nil)
        cluster.run()
        #expect(cluster.nodes[0].replica.batches().count == 1)
    }

    // MARK: Replay

    private static func replay(_ cluster: VirtualCluster, _ mutations: [UInt8]) -> Result<Outcome, ServerError>? {
        cluster.wait(on: 0) { (coordinator, view, now) throws(ServerError) in
            try coordinator.replay(mutations, writtenAt: 77, cluster: view, now: now)
        }
    }

    @Test func replayWritesOrHintsEveryReplica() {
        for isDead in [true, false] {
            let cluster = Self.cluster(5, seed: 10, factor: 3)
            let batch = Self.batch(cluster, 1, partitions: 4)
            if isDead { cluster.dead = [1] }
            cluster.fate = { _, to, _ in to == 1 ? (isDead ? .lose : .loseReply) : .deliver }
            #expect(Self.replay(cluster, batch.mutations)?.value != nil)
            #expect(isDead || cluster.now >= cluster.limits.writeTimeout)
            #expect(Set(cluster.hints.map(\.to)) == [VirtualCluster.id(1)])
            #expect(cluster.hints.allSatisfy { $0.writtenAt == 77 }, "as old as the write")
            for hint in cluster.hints { _ = cluster.nodes.first { $0.id == hint.to }?.replica.apply(hint.mutations) }
            #expect(cluster.holders(batch) == [3, 3, 3, 3])
        }
    }

    /// The replaying node may be lost for good, so another node must hold the batch first.
    @Test func replayStoresBatchOnAnotherNodeFirst() {
        let cluster = Self.cluster(4, seed: 15, factor: 1)
        let batch = Self.batch(cluster, 1, partitions: 3)
        let logged = LoggedBatch(key: BatchKey(created: 5, id: VirtualCluster.id(9)), mutations: batch.mutations)
        func replay() -> Result<Outcome, ServerError>? {
            cluster.wait(on: 0) { (coordinator, view, now) throws(ServerError) in
                try coordinator.replay(logged.mutations, batch: logged, writtenAt: 77, cluster: view, now: now)
            }
        }
        cluster.fate = { _, to, request in
            if case .storeBatch = request, to != 0 { .fail(.overloaded) } else { .deliver }
        }
        #expect(replay()?.error?.code == .unavailable)
        #expect(cluster.sent[.hint] == nil && cluster.holders(batch) == [0, 0, 0], "nothing is applied")
        // After a partial replay the other node keeps the batch, and the next replay uses the same node.
        cluster.fate = { _, _, request in if case .hint = request { .fail(.storage) } else { .deliver } }
        for _ in 0..<3 {
            #expect(replay()?.error != nil)
            #expect(cluster.nodes.map { $0.replica.batches().count }.reduce(0, +) == 1)
        }
        cluster.fate = nil
        #expect(replay()?.value != nil)
        cluster.run()
        #expect(cluster.holders(batch) == [1, 1, 1] && cluster.nodes.allSatisfy { $0.replica.batches().isEmpty })
    }

    /// An isolated node may still believe it is a replica after others took over; its copy alone does not count.
    @Test func replayWithoutMajorityFails() {
        let cluster = Self.cluster(3, seed: 13, factor: 3)
        let batch = Self.batch(cluster, 1, partitions: 2)
        cluster.fate = { _, to, _ in to == 0 ? .deliver : .lose }
        #expect(
            Self.replay(cluster, batch.mutations)?.error?.detail
                == .writeTimeout(consistency: .quorum, received: 1, required: 2, writeType: "BATCH"))
        cluster.dead = [1, 2]
        #expect(
            Self.replay(cluster, batch.mutations)?.error?.detail
                == .unavailable(consistency: .quorum, required: 2, alive: 1))
        #expect(cluster.hints.isEmpty)
        cluster.dead = [2]
        cluster.fate = nil
        #expect(Self.replay(cluster, batch.mutations)?.value != nil)
        #expect(cluster.hints.count == 1)
    }

    @Test func failedReplayStoresNoHints() {
        let cluster = Self.cluster(4, seed: 11, factor: 1)
        let tokens = (0..<4).map { cluster.ringNodes[$0].claims[0].token }
        let batch = Batch(number: 1, tokens: [tokens[1], tokens[2]])
        cluster.fate = { _, to, _ in to == 2 ? .fail(.storage) : .deliver }
        #expect(Self.replay(cluster, batch.mutations)?.error?.code == .writeTimeout)
        #expect(cluster.hints.isEmpty)
        cluster.sent = [:]
        cluster.dead = [2]
        #expect(Self.replay(cluster, batch.mutations)?.error?.code == .unavailable)
        #expect(cluster.hints.isEmpty && cluster.sent.isEmpty)
    }

    @Test func replaySkipsMutationsOfDroppedTables() {
        let cluster = Self.cluster(4, seed: 12)
        cluster.otherOptions = nil
        let batch = Self.batch(cluster, 1, partitions: 2)
        #expect(Self.replay(cluster, batch.mutations)?.value != nil)
        #expect(cluster.holders(batch) == [2, 0])
        let gone = Sample.put(Sample.key(token: 1, 1, []), 1, at: 1, table: VirtualCluster.otherTable)
        cluster.sent = [:]
        #expect(Self.replay(cluster, gone)?.value != nil)
        #expect(cluster.sent.isEmpty)
    }

    @Test func batchExpiresAfterGCGrace() {
        let batch = LoggedBatch(key: BatchKey(created: 5_000_000, id: VirtualCluster.id(1)), mutations: [])
        #expect(
            !batch.hasExpired(now: 14_900_000, graceSeconds: 10) && batch.hasExpired(now: 15_000_000, graceSeconds: 10))
        #expect(!batch.hasExpired(now: 1_000_000, graceSeconds: 10))
    }

    // MARK: Atomicity

    /// The coordinator crashes after each event, and restarts only when batchlog replay is done.
    @Test(arguments: 0..<12) func batchIsAtomicWhenCoordinatorCrashesAtAnyStep(seed: UInt64) {
        var outcomes: Set<Bool> = []
        for step in 0..<200 {
            let cluster = Self.cluster(5, seed: seed, factor: 1 + Int(seed % 3))
            if seed % 4 == 3 { cluster.faults.loss = 0.1 }
            cluster.losesInFlight = seed % 2 == 0
            let batch = Self.batch(cluster, 1, partitions: 2 + Int(seed % 2))
            var result: Result<Outcome, ServerError>?
            var isDone = false
            do {
                try cluster.begin(on: 0) { (coordinator, view, now) throws(ServerError) in
                    try coordinator.write(batch.mutations, consistency: .quorum, type: .batch, cluster: view, now: now)
                } then: {
                    result = $0
                    isDone = true
                }
            } catch { Issue.record("\(error)") }
            var count = 0
            cluster.run {
                count += 1
                return count <= step
            }
            cluster.stop(0)
            cluster.replayPeriodically()
            cluster.at(cluster.now + 25_000_000) { cluster.start(0) }
            cluster.faults = NetworkFaults()
            cluster.run(for: 60_000_000)
            let held = cluster.holders(batch)
            #expect(held.allSatisfy { ($0 > 0) == (held[0] > 0) }, "seed \(seed) step \(step): held by \(held)")
            #expect(cluster.nodes.allSatisfy { $0.replica.batches().isEmpty }, "seed \(seed) step \(step)")
            outcomes.insert(held[0] > 0)
            if isDone, result?.value != nil { break }
        }
        // If messages in flight are lost with the coordinator, a crash before the first event leaves nothing stored.
        #expect(outcomes == (seed % 2 == 0 ? [false, true] : [true]))
    }

    /// Random batches at all levels, with lost, duplicated and delayed messages and with crashing nodes.
    @Test(arguments: 0..<300) func batchIsAtomicOverFaultyNetwork(seed: UInt64) {
        let factor = 1 + Int(seed % 3)
        let cluster = Self.cluster(5, seed: seed, factor: factor)
        cluster.faults.loss = Double(seed % 5) * 0.05
        cluster.faults.duplicates = 0.05
        cluster.faults.slow = Double(seed % 4) * 0.02
        cluster.replayPeriodically()
        var batches: [(batch: Batch, level: Consistency, result: Result<Outcome, ServerError>?)] = []
        let levels: [Consistency] = [.any, .one, .quorum, .all]
        for number in 0..<12 {
            let batch = Self.batch(cluster, UInt8(number), partitions: 2 + Int(cluster.random.next() % 4))
            batches.append((batch, levels[Int(cluster.random.next() % 4)], nil))
            cluster.at(cluster.pick(0...8_000_000)) {
                let index = Int(cluster.random.next() % 5)
                guard cluster.isUp(index) else { return }
                let level = batches[number].level
                do throws(ServerError) {
                    try cluster.begin(on: index) { (coordinator, view, now) throws(ServerError) in
                        try coordinator.write(
                            batch.mutations, consistency: level, type: .batch, cluster: view, now: now)
                    } then: {
                        batches[number].result = $0
                    }
                } catch { batches[number].result = .failure(error) }
                // In 40% of cases the coordinator crashes during the batch.
                if cluster.chance(0.4) {
                    cluster.at(cluster.now + cluster.pick(0...12_000)) {
                        cluster.crash(index, for: cluster.pick(100_000...12_000_000))
                    }
                }
            }
        }
        for _ in 0..<4 {
            let index = Int(cluster.random.next() % 5)
            cluster.at(cluster.pick(0...12_000_000)) { cluster.crash(index, for: cluster.pick(100_000...12_000_000)) }
        }
        cluster.run(for: 26_000_000)
        cluster.faults = NetworkFaults()
        cluster.run(for: 60_000_000)
        for (batch, level, result) in batches {
            let held = cluster.holders(batch)
            let comment = Comment(
                rawValue:
                    "seed \(seed) batch \(batch.number) at \(level) held by \(held): \(String(describing: result))")
            #expect(held.allSatisfy { ($0 > 0) == (held[0] > 0) }, comment)
            guard let result else { continue }
            switch result {
            case .success:
                let required = ConsistencyCheck.required(
                    level, Replication(total: factor, local: factor, dataCenters: [:]))
                #expect(held.allSatisfy { $0 >= required }, comment)
            case .failure(let error):
                guard case .writeTimeout(_, _, _, "BATCH") = error.detail else { continue }
                // Two nodes have the batch in their batchlogs, and both are up again.
                #expect(held.allSatisfy { $0 == factor }, comment)
            }
        }
        #expect(cluster.nodes.allSatisfy { $0.replica.batches().isEmpty }, "seed \(seed)")
        #expect((0..<5).allSatisfy { cluster.idle($0) }, "seed \(seed)")
    }
}

extension VirtualCluster {
    /// Returns the number of replicas that hold each partition of a batch.
    func holders(_ batch: BatchTests.Batch) -> [Int] {
        batch.tokens.indices.map { place in
            let key = batch.key(place)
            let table = place % 2 == 0 ? VirtualCluster.table : VirtualCluster.otherTable
            return nodes.count { !$0.replica.rows(table, KeyRange(start: key, end: key + [0])).isEmpty }
        }
    }

    /// Periodically replays the batchlogs of all nodes and delivers hints to nodes that are up.
    func replayPeriodically() {
        for node in nodes {
            at(now + 2_000_000 * Int64(node.index + 1)) { [self] in replayAndAgain(node) }
        }
        at(now + 1_000_000) { [self] in deliverHintsAndAgain() }
    }

    private func replayAndAgain(_ node: VirtualNode) {
        at(now + 10_000_000) { [self] in replayAndAgain(node) }
        guard node.isUp else { return }
        for batch in node.replica.batches(before: VirtualTime.epoch + now - 2 * limits.writeTimeout) {
            do throws(ServerError) {
                try begin(on: node.index) { (coordinator, view, now) throws(ServerError) in
                    try coordinator.replay(batch.mutations, batch: batch, writtenAt: 0, cluster: view, now: now)
                } then: { result in
                    if result?.value != nil { _ = node.replica.handle(.removeBatch(batch.key)) }
                }
            } catch { preconditionFailure("\(error)") }
        }
    }

    private func deliverHintsAndAgain() {
        at(now + 1_000_000) { [self] in deliverHintsAndAgain() }
        hints.removeAll { hint in
            guard let target = nodes.first(where: { $0.id == hint.to }), target.isUp else { return false }
            target.replica.apply(hint.mutations)
            return true
        }
    }

    /// Stops a node for some time. After a second the others consider it down.
    func crash(_ index: Int, for microseconds: Int64) {
        guard isUp(index) else { return }
        stop(index)
        at(now + min(microseconds, 1_000_000)) { [self] in if !isUp(index) { dead.insert(index) } }
        at(now + microseconds) { [self] in
            start(index)
            dead.remove(index)
        }
    }
}
