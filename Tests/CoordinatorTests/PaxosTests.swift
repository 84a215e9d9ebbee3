import DataModel
import Messages
import Primitives
import Simulation
import Testing
import VirtualCluster

@testable import Cluster
@testable import Coordinator

@Suite struct PaxosTests {
    static let partition = Sample.prefix(token: 1, 1)
    static let key = Sample.key(token: 1, 1, [])
    static let paxosKey = PaxosKey(table: VirtualCluster.table, partition: partition)

    /// Reads the value and replaces it with `next` of it.
    private static func swap(_ port: CoordinatedRequest, read: (Int) -> Void, _ next: (Int) -> Int) throws(ReplicaError)
        -> Int
    {
        var failure: ReplicaError?
        var found = 0
        try port.withTransaction(table: VirtualCluster.table, partition: partition, reading: key) {
            failure = nil
            do throws(ReplicaError) {
                try port.get(table: VirtualCluster.table, key: Sample.writer(key)) {
                    found = Int(Sample.value($0) ?? 0)
                }
                read(found)
                var mutation = MutationWriter()
                Sample.put(key, Int64(next(found)), at: port.transactionTimestamp ?? 0, into: &mutation)
                try port.apply(mutation, type: .cas)
                return true
            } catch {
                failure = error
                return false
            }
        }
        if let failure { throw failure }
        return found
    }

    private static func serialRead(_ port: CoordinatedRequest) throws(ReplicaError) -> Int {
        var found = 0
        try port.get(table: VirtualCluster.table, key: Sample.writer(key)) { found = Int(Sample.value($0) ?? 0) }
        return found
    }

    /// The operations of clients on one register, as the clients see them.
    private final class History {
        var operations: [RegisterOperation] = []
        private var clock = 0
        var applied = 0

        func tick() -> Int {
            clock += 1
            return clock
        }
    }

    /// Runs swaps and serial reads from all nodes at once.
    private static func run(_ cluster: VirtualCluster, rounds: Int, commit: Consistency, next: @escaping (Int) -> Int)
        -> History
    {
        let history = History()
        func client(_ node: Int, left: Int) {
            guard left > 0, cluster.now < 60_000_000 else { return }
            let called = history.tick()
            func again() { cluster.at(cluster.now + cluster.pick(0...20_000)) { client(node, left: left - 1) } }
            guard cluster.isUp(node) else { return again() }
            if cluster.chance(0.3) {
                cluster.request(on: node, .serial, contentionTimeout: 600_000, serialRead) { result in
                    if let value = result?.value {
                        history.operations.append(
                            RegisterOperation(kind: .read(value), called: called, returned: history.tick()))
                    }
                    again()
                }
                return
            }
            var tried: (old: Int, new: Int)?
            cluster.request(on: node, commit, contentionTimeout: 600_000) { (port) throws(ReplicaError) in
                tried = nil
                return try swap(
                    port, read: { tried = ($0, tried?.new ?? 0) },
                    { old in
                        // A restarted request proposes the same value.
                        let new = next(old)
                        tried = (old, new)
                        return new
                    })
            } then: { result in
                defer { again() }
                guard let tried else { return }
                if let error = result?.error, error.message.contains("nothing was applied") { return }
                let isKnown = result?.value != nil
                if isKnown { history.applied += 1 }
                history.operations.append(
                    RegisterOperation(
                        kind: .swap(tried.old, tried.new), called: called, returned: isKnown ? history.tick() : nil))
            }
        }
        for node in cluster.nodes.indices { client(node, left: rounds) }
        return history
    }

    private static func finish(_ cluster: VirtualCluster) -> Int? {
        cluster.faults = NetworkFaults()
        cluster.dead = []
        for node in cluster.nodes.indices { cluster.start(node) }
        cluster.run(for: 10_000_000)
        return cluster.wait(on: 0, .serial, serialRead)?.value
    }

    @Test(arguments: 0..<60) func incrementsAreLinearizable(seed: UInt64) {
        let cluster = VirtualCluster(5, seed: seed, tokensPerNode: 2, skew: seed % 3 == 0 ? 20_000 : 0)
        cluster.faults = NetworkFaults(
            loss: seed % 4 == 0 ? 0 : 0.03, reported: 0.5, duplicates: 0.05, slow: 0.02,
            delay: seed % 2 == 0 ? 100...2_000 : 300...300)
        let commit: Consistency = [.quorum, .one, .any, .all][Int(seed / 2 % 4)]
        for _ in 0..<Int(cluster.random.next() % 6) {
            let node = Int(cluster.random.next() % 5)
            let when = cluster.pick(0...3_000_000)
            cluster.at(when) { cluster.stop(node) }
            cluster.at(when + 300_000) { cluster.start(node) }
            if cluster.chance(0.5) {
                cluster.at(when + 50_000) { cluster.dead.insert(node) }
                cluster.at(when + 350_000) { cluster.dead.remove(node) }
            }
        }
        let history = Self.run(cluster, rounds: 14, commit: commit) { $0 + 1 }
        cluster.run()
        let last = Self.finish(cluster)
        let swaps = history.operations.compactMap { operation -> (Int, isKnown: Bool)? in
            if case .swap(let old, _) = operation.kind { (old, operation.returned != nil) } else { nil }
        }
        let known = swaps.filter(\.isKnown).map(\.0)
        #expect(Set(known).count == known.count, "seed \(seed): two built on the same value")
        #expect(
            last ?? -1 >= known.count && last ?? .max <= swaps.count,
            "seed \(seed): \(String(describing: last)) of \(known.count), \(swaps.count)")
        // No gaps: every value below the last one was built upon.
        #expect(Set(swaps.map(\.0)).isSuperset(of: 0..<(last ?? 0)), "seed \(seed)")
        var operations = history.operations
        if let last {
            operations.append(RegisterOperation(kind: .read(last), called: history.tick(), returned: history.tick()))
        }
        #expect(Linearizability.holds(operations, initial: 0), "seed \(seed)")
        #expect(known.count >= 5, "seed \(seed): only \(known.count) were applied")
        for node in 0..<5 { #expect(cluster.idle(node), "seed \(seed)") }
    }

    /// Values that do not grow. If two writes had the same timestamp, the greater value would win instead of the later
    /// one.
    @Test(arguments: 0..<60) func swapsOfAnyValuesAreLinearizable(seed: UInt64) {
        let cluster = VirtualCluster(3, seed: seed)
        cluster.faults = NetworkFaults(loss: 0.02, reported: 1, duplicates: 0.02, slow: 0.05, delay: 100...400)
        var values: [Int: Int] = [:]
        var numbers = SeededRandom(seed: ~seed)
        let history = Self.run(cluster, rounds: 30, commit: .quorum) { old in
            // Distinct values; a request that is restarted on the same old value gets the same new one.
            if let known = values[old] { return known }
            let new = Int(numbers.next() >> 20)
            values[old] = new
            return new
        }
        cluster.run()
        let last = Self.finish(cluster)
        var operations = history.operations
        if let last {
            operations.append(RegisterOperation(kind: .read(last), called: history.tick(), returned: history.tick()))
        }
        #expect(Linearizability.holds(operations, initial: 0), "seed \(seed)")
        #expect(history.applied >= 10, "seed \(seed)")
    }

    /// Two nodes with equal clocks begin rounds in the same microsecond; messages of the second are slow.
    @Test func roundsBegunInOneMicrosecondGetDistinctTimestamps() {
        let cluster = VirtualCluster(3, seed: 1)
        cluster.fate = { from, _, request in
            if from == 2, case .prepare = request { return .delay(20_000) }
            return .deliver
        }
        var results: [Int] = []
        for (node, value) in [(0, 9), (2, 5)] {
            cluster.request(on: node, .quorum) { (port) throws(ReplicaError) in
                try Self.swap(port, read: { _ in }, { _ in value })
            } then: {
                if let found = $0?.value { results.append(found) }
            }
        }
        cluster.run()
        #expect(results == [0, 9])
        #expect(cluster.wait(on: 1, .serial, Self.serialRead)?.value == 5)
    }

    private static func swapOnce(_ cluster: VirtualCluster, on node: Int, commit: Consistency = .quorum) -> Result<
        Int, ServerError
    >? {
        cluster.wait(on: node, commit) { (port) throws(ReplicaError) in try swap(port, read: { _ in }, { $0 + 1 }) }
    }

    /// One of three members refuses and one fails. Another attempt may succeed, so it starts at once.
    @Test func refusalTogetherWithFailureIsRetried() {
        let cluster = VirtualCluster(3, seed: 1)
        let high = Ballot(timestamp: VirtualTime.epoch + 10_000, node: VirtualCluster.id(2))
        _ = cluster.nodes[1].replica.handle(.prepare(Self.paxosKey, high, reading: nil))
        var failures = 0
        cluster.fate = { _, to, request in
            if to == 2, case .prepare = request, failures == 0 {
                failures += 1
                return .fail(.connectionLost)
            }
            return .deliver
        }
        #expect(Self.swapOnce(cluster, on: 0)?.value == 0)
        #expect(cluster.now < 200_000)
    }

    /// A member that fails to catch up is skipped instead of delaying the operation until the deadline.
    @Test func memberThatFailsToCatchUpIsSkipped() {
        let cluster = VirtualCluster(3, seed: 1)
        let ballot = Ballot(timestamp: VirtualTime.epoch - 5, node: VirtualCluster.id(0))
        let value = Sample.put(Self.key, 7, at: ballot.timestamp)
        _ = cluster.nodes[0].replica.handle(.commit(Self.paxosKey, ballot, value: value))
        var failures = 0
        cluster.fate = { _, to, request in
            if to == 2, case .prepare = request { return .delay(1_000) }
            if to != 0, case .commit = request, failures == 0 {
                failures += 1
                return .fail(.connectionLost)
            }
            return .deliver
        }
        #expect(Self.swapOnce(cluster, on: 0)?.value == 7)
        #expect(failures == 1)
        #expect(cluster.now < 200_000)
    }

    /// Member 2 is behind and stays silent when it is sent the last round. Member 1 promises later: it has missed
    /// nothing, is behind too, or knows a newer round than member 0. The transaction does not wait for member 2.
    @Test(arguments: [[0, 1], [0], [1]]) func silentMemberThatIsBehindIsNotAwaited(committedOn: [Int]) {
        let cluster = VirtualCluster(3, seed: 1)
        func commit(_ value: Int64, on nodes: [Int]) {
            let ballot = Ballot(timestamp: VirtualTime.epoch - 10 + value, node: VirtualCluster.id(0))
            let mutation = Sample.put(Self.key, value, at: ballot.timestamp)
            for node in nodes {
                _ = cluster.nodes[node].replica.handle(.commit(Self.paxosKey, ballot, value: mutation))
            }
        }
        commit(6, on: [0, 1])
        commit(7, on: committedOn)
        cluster.fate = { _, to, request in
            switch request {
            case .prepare where to == 1: .delay(5_000)
            case .commit where to == 2: .lose
            default: .deliver
            }
        }
        #expect(Self.swapOnce(cluster, on: 0)?.value == 7)
        #expect(cluster.now < 20_000)
    }

    /// A member that failed in one attempt may answer in the next.
    @Test func memberThatFailedInOneAttemptMayAnswerInTheNext() {
        let cluster = VirtualCluster(5, seed: 1, options: ["class": "SimpleStrategy", "replication_factor": "5"])
        var prepares = 0
        cluster.fate = { _, to, request in
            guard case .prepare(_, let ballot, _) = request else { return .deliver }
            let round = prepares / 5
            prepares += 1
            guard round < 3 else { return .deliver }
            if to == round { return .fail(.connectionLost) }
            for node in 0..<5 where node != round {
                _ = cluster.nodes[node].replica.handle(
                    .prepare(
                        Self.paxosKey, Ballot(timestamp: ballot.timestamp + 100, node: VirtualCluster.id(4)),
                        reading: nil))
            }
            return .deliver
        }
        #expect(Self.swapOnce(cluster, on: 4)?.value == 0)
        #expect(prepares == 20)
    }

    /// Promises carry the data that the transaction reads. Only if replicas differ is a separate read needed.
    @Test func promisesCarryTheReadWhenReplicasAgree() {
        let cluster = VirtualCluster(3, seed: 1)
        #expect(Self.swapOnce(cluster, on: 0)?.value == 0)
        #expect(Self.swapOnce(cluster, on: 1)?.value == 1)
        #expect(cluster.sent[.read] == nil && cluster.sent[.digest] == nil)
        cluster.request(on: 2, .serial, Self.serialRead) { #expect($0?.value == 2) }
        cluster.run()
        #expect(cluster.sent[.read] == nil && cluster.sent[.digest] == nil)
        cluster.nodes[2].replica.apply(Sample.put(Self.key, 7, at: .max - 1))
        cluster.fate = { _, to, request in if case .prepare = request, to == 1 { .lose } else { .deliver } }
        #expect(Self.swapOnce(cluster, on: 0)?.value != nil)
        #expect(cluster.sent[.read] != nil)
    }

    /// Two of three members refuse a proposal and one accepts it, in any order. A read starts again; for a write the
    /// outcome is reported as unknown at once.
    @Test(arguments: 0..<3, [true, false]) func partlyAcceptedProposalEndsWithoutWaiting(last: Int, isRead: Bool) {
        let cluster = VirtualCluster(3, seed: 1)
        var hasLost = false
        cluster.fate = { _, to, request in
            guard case .propose(_, let ballot, _) = request, !hasLost || cluster.now < 20_000 else { return .deliver }
            hasLost = true
            let high = Ballot(timestamp: ballot.timestamp + 1, node: VirtualCluster.id(2))
            if to != last { _ = cluster.nodes[to].replica.handle(.prepare(Self.paxosKey, high, reading: nil)) }
            return to == last ? .delay(5_000) : .deliver
        }
        if isRead {
            #expect(cluster.wait(on: 0, .serial, Self.serialRead)?.value == 0)
        } else {
            guard case .failure(let error) = Self.swapOnce(cluster, on: 0) else {
                Issue.record("one acceptance of three is no success")
                return
            }
            #expect(error.code == .writeTimeout)
            #expect(
                error.message
                    == "CAS operation timed out: received 1 of 2 required responses; it may or may not have been applied."
            )
        }
        #expect(hasLost && cluster.now < 500_000)
    }

    /// A SERIAL read without a quorum fails with a read timeout.
    @Test func serialReadWithoutQuorumIsAReadTimeout() {
        let cluster = VirtualCluster(3, seed: 1)
        cluster.fate = { _, to, request in if to != 0, case .prepare = request { .lose } else { .deliver } }
        guard case .failure(let error) = cluster.wait(on: 0, .serial, Self.serialRead) else {
            Issue.record("a read without a quorum")
            return
        }
        #expect(error.code == .readTimeout)
        #expect(error.detail == .readTimeout(consistency: .serial, received: 1, required: 2, dataPresent: false))
    }

    @Test func unavailableCommitLevelProposesNothing() {
        let cluster = VirtualCluster(3, seed: 1)
        cluster.dead = [2]
        #expect(
            Self.swapOnce(cluster, on: 0, commit: .all)?.error?.detail
                == .unavailable(consistency: .all, required: 3, alive: 2))
        #expect(cluster.sent[.propose] == nil)
        #expect(Self.swapOnce(cluster, on: 0, commit: .quorum)?.value == 0)
        // The value is stored as a hint for the dead member.
        #expect(cluster.hints.map(\.to) == [VirtualCluster.id(2)])
    }

    @Test func transactionWithTwoPendingReplicasIsRefused() {
        let cluster = VirtualCluster(5, seed: 1)
        cluster.ringNodes[3].state = .joining
        cluster.ringNodes[4].state = .joining
        let view = cluster.view(0)
        var refused = 0
        for node in cluster.ringNodes {
            let token = node.claims[0].token
            let pending = view.placement(of: VirtualCluster.table)?.table.pendingReplicas(for: token).count ?? 0
            let error = PaxosMembers(view, table: VirtualCluster.table, token: token, consistency: .serial)?.unavailable
            #expect((error?.code == .unavailable) == (pending > 1))
            if error != nil { refused += 1 }
        }
        #expect(refused > 0 && refused < 5)
    }

    @Test func transactionWithoutMajorityIsUnavailable() {
        let cluster = VirtualCluster(3, seed: 1)
        cluster.dead = [1, 2]
        #expect(
            Self.swapOnce(cluster, on: 0)?.error?.detail == .unavailable(consistency: .serial, required: 2, alive: 1))
        #expect(cluster.sent.isEmpty)
    }
}
