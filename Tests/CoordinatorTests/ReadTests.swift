import DataModel
import Messages
import Primitives
import Testing
import VirtualCluster

@testable import Cluster
@testable import Coordinator

@Suite struct ReadTests {
    private static let key = Sample.key(token: 1, 1, [])

    private static func replication(_ factor: Int) -> [String: String] {
        ["class": "SimpleStrategy", "replication_factor": "\(factor)"]
    }

    private static func read(_ cluster: VirtualCluster, on node: Int, _ consistency: Consistency) -> Result<
        Outcome, ServerError
    >? {
        cluster.wait(on: node) { coordinator, view, now in
            coordinator.read(Sample.one(key), consistency: consistency, cluster: view, isByKey: true, now: now)
        }
    }

    @Test func readTimeoutReportsNumberOfAnswers() {
        for level in [Consistency.quorum, .all, .three] {
            let cluster = VirtualCluster(3, seed: 1)
            // Replica 0, the local one, is asked for data and answers. The others do not.
            cluster.fate = { _, to, _ in to == 0 ? .deliver : .lose }
            let required: Int32 = level == .quorum ? 2 : 3
            #expect(
                Self.read(cluster, on: 0, level)?.error?.detail
                    == .readTimeout(consistency: level, received: 1, required: required, dataPresent: true))
        }
    }

    @Test func readFailureReportsNumberOfFailures() {
        let cluster = VirtualCluster(3, seed: 1)
        cluster.fate = { _, to, _ in to == 0 ? .deliver : .fail(.storage) }
        #expect(
            Self.read(cluster, on: 0, .quorum)?.error?.detail
                == .readFailure(consistency: .quorum, received: 1, required: 2, failures: 2, dataPresent: true))
    }

    @Test func unavailableReadSendsNothing() {
        let cluster = VirtualCluster(3, seed: 1)
        cluster.dead = [1, 2]
        #expect(
            Self.read(cluster, on: 0, .quorum)?.error?.detail
                == .unavailable(consistency: .quorum, required: 2, alive: 1))
        #expect(cluster.sent.isEmpty)
    }

    /// A digest that arrives during reconciliation, from a replica that was not asked for data, is ignored.
    @Test func lateDigestIsIgnoredDuringReconciliation() {
        let cluster = VirtualCluster(5, seed: 1, options: Self.replication(5))
        for node in cluster.nodes { node.replica.apply(Sample.put(Self.key, Int64(node.index), at: Int64(node.index))) }
        var asked = 0
        // Replica 0 sends data, 1 a digest; the digest of 2 is late, so 3 is asked for data. Then 1 is slow with its
        // data.
        cluster.fate = { _, to, request in
            switch (to, request) {
            case (2, .digest): return .delay(60_000)
            case (1, .read):
                asked += 1
                return .delay(100_000)
            default: return .deliver
            }
        }
        let result = Self.read(cluster, on: 0, .quorum)
        #expect(asked == 1)
        #expect(result?.value.flatMap { Sample.value($0) } ?? 0 >= 3)
        #expect(cluster.now < 1_000_000)
    }

    /// One more replica than needed has answered, so one may fail to repair or to send its data.
    @Test func surplusReplicaMayFail() {
        for failing in ["repair", "rows"] {
            let cluster = VirtualCluster(5, seed: 1, options: Self.replication(5))
            for node in cluster.nodes {
                node.replica.apply(Sample.put(Self.key, Int64(node.index), at: Int64(node.index)))
            }
            cluster.fate = { _, to, request in
                switch (to, request) {
                // Replica 1 answers after 3 was asked for data, whose answer arrives at the same time.
                case (1, .digest): return .delay(50_200)
                case (2, .digest): return .delay(50_100)
                case (3, .read): return .delay(200)
                case (1, .read) where failing == "rows": return .fail(.storage)
                case (1, .repair) where failing == "repair": return .fail(.storage)
                default: return .deliver
                }
            }
            let result = Self.read(cluster, on: 0, .quorum)
            #expect(result?.value.flatMap { Sample.value($0) } ?? 0 >= 2, "\(failing)")
        }
    }

    /// A replica that sent its digest and then fails is replaced while others are up.
    @Test func replicaFailingDuringReconciliationIsReplaced() {
        let cluster = VirtualCluster(3, seed: 1)
        for node in cluster.nodes { node.replica.apply(Sample.put(Self.key, Int64(node.index), at: Int64(node.index))) }
        cluster.fate = { _, to, request in
            if to == 1, case .read = request { return .fail(.storage) }
            return .deliver
        }
        let result = Self.read(cluster, on: 0, .quorum)
        #expect(result?.value.flatMap { Sample.value($0) } == 2)
        #expect(
            cluster.nodes[0].replica.rows(VirtualCluster.table, .all).map(\.row)
                == cluster.nodes[2].replica.rows(VirtualCluster.table, .all).map(\.row))
    }

    /// A slow replica is asked a few times and then avoided. After a pause it is tried again.
    @Test func slowReplicaIsAvoided() {
        var limits = CoordinatorLimits()
        limits.latencyInterval = 100_000
        let cluster = VirtualCluster(3, seed: 1, limits: limits)
        for node in cluster.nodes { node.replica.apply(Sample.put(Self.key, 7, at: 7)) }
        var asked = [0, 0, 0]
        var slowness: Int64 = 20_000
        cluster.fate = { _, to, _ in
            asked[to] += 1
            return to == 1 ? .delay(slowness) : .deliver
        }
        func read(_ count: Int) -> [Int] {
            asked = [0, 0, 0]
            for _ in 0..<count {
                #expect(Self.read(cluster, on: 0, .quorum)?.value.flatMap { Sample.value($0) } == 7)
                cluster.run(for: 10_000)
            }
            return asked
        }
        // Replica 1 is nearer than replica 2.
        let first = read(100)
        #expect(first[1] > 0 && first[1] < 15, "\(first)")
        #expect(read(300)[1] == 0)
        // After a minute its latency is forgotten. It is tried again, and used because it is fast now.
        slowness = 200
        cluster.run(for: 60_000_000)
        let later = read(200)
        #expect(later[1] > 150, "\(later)")
        // A silent replica delays only the read that meets it first.
        slowness = 40_000_000
        let silent = read(100)
        #expect(silent[1] < 15, "\(silent)")
        #expect(cluster.nodes[0].coordinator.counters.speculativeReads < 15)
    }

    /// Immediate failures do not count as low latency.
    @Test func failingReplicaIsAvoided() {
        var limits = CoordinatorLimits()
        limits.latencyInterval = 100_000
        let cluster = VirtualCluster(3, seed: 1, limits: limits)
        for node in cluster.nodes { node.replica.apply(Sample.put(Self.key, 7, at: 7)) }
        var asked = 0
        cluster.fate = { _, to, _ in
            if to == 1 { asked += 1 }
            return to == 1 ? .fail(.storage) : .deliver
        }
        for _ in 0..<100 {
            #expect(Self.read(cluster, on: 0, .quorum)?.value.flatMap { Sample.value($0) } == 7)
            cluster.run(for: 10_000)
        }
        #expect(asked > 0 && asked < 15)
    }

    @Test func localLevelsReadOnlyTheLocalDataCenter() {
        let locations = (0..<6).map { Location(dataCenter: $0 < 3 ? "a" : "b", rack: "r") }
        var limits = CoordinatorLimits()
        limits.latencyInterval = 100_000
        let cluster = VirtualCluster(
            6, seed: 1, options: ["class": "NetworkTopologyStrategy", "a": "3", "b": "3"], locations: locations,
            limits: limits)
        for node in cluster.nodes { node.replica.apply(Sample.put(Self.key, 7, at: 7)) }
        var asked: Set<Int> = []
        cluster.fate = { _, to, _ in
            asked.insert(to)
            // All replicas of the local data center are slow, and none of the remote one.
            return to < 3 ? .delay(30_000) : .deliver
        }
        for level in [Consistency.localOne, .localQuorum, .one, .two] {
            for _ in 0..<50 {
                #expect(Self.read(cluster, on: 0, level)?.value.flatMap { Sample.value($0) } == 7)
                cluster.run(for: 10_000)
            }
            #expect(asked.allSatisfy { $0 < 3 }, "\(level)")
        }
    }

    /// The order of replicas is the same for all ranges, so a full scan is one range where every node holds everything.
    @Test func rangesWithEqualReplicasAreOneStretch() {
        let cluster = VirtualCluster(3, seed: 1, tokensPerNode: 4)
        for node in 0..<3 {
            let stretches = cluster.view(node).stretches(table: VirtualCluster.table, .all)
            #expect(stretches.count == 1 && stretches.first?.replicas.first == node)
        }
        // A coordinator that holds no replica asks the primary replica first, so each range is read separately.
        let single = VirtualCluster(6, seed: 1, options: Self.replication(2), locations: [], tokensPerNode: 4)
        #expect(Set((0..<6).map { single.view($0).stretches(table: VirtualCluster.table, .all).count }).min() ?? 0 > 6)
    }

    @Test func eachQuorumReplacesFailedReplicaInItsDataCenter() {
        let locations = (0..<6).map { Location(dataCenter: $0 < 3 ? "a" : "b", rack: "r") }
        let cluster = VirtualCluster(
            6, seed: 1, options: ["class": "NetworkTopologyStrategy", "a": "3", "b": "3"], locations: locations)
        for node in cluster.nodes { node.replica.apply(Sample.put(Self.key, 7, at: 7)) }
        cluster.fate = { _, to, _ in to == 3 ? .fail(.storage) : .deliver }
        #expect(Self.read(cluster, on: 0, .eachQuorum)?.value.flatMap { Sample.value($0) } == 7)
        // The replacement does not wait for the speculative delay.
        #expect(cluster.now < cluster.limits.speculativeDelay)
        #expect(Self.read(cluster, on: 0, .localQuorum)?.value != nil)
        cluster.fate = { _, to, _ in to == 3 || to == 4 ? .fail(.storage) : .deliver }
        #expect(Self.read(cluster, on: 0, .eachQuorum)?.error?.code == .readFailure)
    }

    @Test func silentReplicaIsReplacedAfterSpeculativeDelay() {
        for quiet in 0..<3 {
            let cluster = VirtualCluster(3, seed: 1)
            for node in cluster.nodes { node.replica.apply(Sample.put(Self.key, 7, at: 7)) }
            cluster.fate = { _, to, _ in to == quiet ? .lose : .deliver }
            #expect(Self.read(cluster, on: 1, .quorum)?.value.flatMap { Sample.value($0) } == 7)
            #expect(cluster.now < 2 * cluster.limits.speculativeDelay)
        }
    }

    /// Writes with rising timestamps, and reads, all at QUORUM over a faulty network with crashes. No read returns less
    /// than what was acknowledged or read before it began.
    @Test(arguments: 0..<60) func quorumReadsAreMonotonicOverFaultyNetwork(seed: UInt64) {
        let cluster = VirtualCluster(5, seed: seed, tokensPerNode: 4)
        cluster.faults = NetworkFaults(loss: 0.03, reported: 0.5, duplicates: 0.05, slow: 0.03)
        let keys = (0..<3).map { Sample.key(token: Int64(bitPattern: cluster.random.next()), UInt8($0), []) }
        var floor = [Int64](repeating: 0, count: keys.count)
        var done = (writes: 0, reads: 0)
        for step in 0..<200 {
            cluster.at(Int64(step) * 20_000) {
                let key = Int(cluster.random.next() % 3)
                let node = Int(cluster.random.next() % 5)
                guard cluster.nodes[node].isUp else { return }
                if cluster.chance(0.5) {
                    let stamp = Int64(step + 1)
                    try? cluster.begin(on: node) { (coordinator, view, now) throws(ServerError) in
                        try coordinator.write(
                            Sample.put(keys[key], stamp, at: stamp), consistency: .quorum, type: .simple, cluster: view,
                            now: now)
                    } then: { result in
                        guard case .success? = result else { return }
                        done.writes += 1
                        floor[key] = max(floor[key], stamp)
                    }
                } else {
                    let least = floor[key]
                    try? cluster.begin(on: node) { coordinator, view, now in
                        coordinator.read(
                            Sample.one(keys[key]), consistency: .quorum, cluster: view, isByKey: true, now: now)
                    } then: { result in
                        guard case .success(let outcome)? = result else { return }
                        done.reads += 1
                        let seen = Sample.value(outcome) ?? 0
                        #expect(seen >= least, "seed \(seed) step \(step)")
                        floor[key] = max(floor[key], seen)
                    }
                }
            }
            if cluster.chance(0.03) {
                let node = Int(cluster.random.next() % 5)
                cluster.at(Int64(step) * 20_000 + 7) { cluster.stop(node) }
                cluster.at(Int64(step) * 20_000 + 200_000) { cluster.start(node) }
                if cluster.chance(0.5) {
                    cluster.at(Int64(step) * 20_000 + 30_000) { cluster.dead.insert(node) }
                    cluster.at(Int64(step) * 20_000 + 220_000) { cluster.dead.remove(node) }
                }
            }
        }
        cluster.run()
        #expect(done.writes > 50 && done.reads > 50, "seed \(seed): \(done)")
        for node in 0..<5 { #expect(cluster.idle(node), "seed \(seed)") }
    }
}
