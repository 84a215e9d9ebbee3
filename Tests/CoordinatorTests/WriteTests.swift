import DataModel
import Messages
import Primitives
import Testing
import VirtualCluster

@testable import Cluster
@testable import Coordinator

@Suite struct WriteTests {
    private static let key = Sample.key(token: 1, 1, [])

    /// A replica shared by the first and the last partition of a batch gets one request and counts once.
    @Test func sharedReplicaCountsOnce() throws {
        let cluster = VirtualCluster(4, seed: 1)
        // Replicas 0, 1, 2 of the first range and 1, 2, 3 of the second.
        let ends = cluster.ringNodes.map { $0.claims[0].token }.sorted()
        let first =
            cluster.view(0).placement(of: VirtualCluster.table)?.table.replicas(for: ends[0]).map { Int($0) } ?? []
        let second =
            cluster.view(0).placement(of: VirtualCluster.table)?.table.replicas(for: ends[1]).map { Int($0) } ?? []
        let shared = first.filter { second.contains($0) }
        let only = second.filter { !first.contains($0) }
        try #require(shared.count == 2 && only.count == 1)
        let batch =
            Sample.put(Sample.key(token: ends[0], 1, []), 1, at: 5)
            + Sample.put(Sample.key(token: ends[1], 2, []), 2, at: 5)
            + Sample.put(Sample.key(token: ends[0], 3, []), 3, at: 5)
        cluster.fate = { _, to, _ in to == shared[0] || to == only[0] ? .deliver : .lose }
        let result = cluster.write(on: first[0], batch, .quorum, type: .unloggedBatch)
        #expect(
            result?.error?.detail
                == .writeTimeout(consistency: .quorum, received: 1, required: 2, writeType: "UNLOGGED_BATCH"),
            "\(String(describing: result))")
    }

    @Test func anyIsMetByHints() {
        let cluster = VirtualCluster(3, seed: 1)
        cluster.fate = { _, _, _ in .lose }
        #expect(cluster.write(on: 0, Sample.put(Self.key, 1, at: 5), .any)?.value != nil)
        #expect(cluster.hints.count == 3)
        cluster.fate = { _, _, _ in .fail(.storage) }
        #expect(cluster.write(on: 0, Sample.put(Self.key, 1, at: 6), .any)?.value != nil)
    }

    /// The coordinator reports that replicas know newer members, so that the request can start again with them.
    @Test func refusalByNewerMembersIsReported() {
        let cluster = VirtualCluster(3, seed: 1)
        cluster.fate = { _, to, _ in to == 0 ? .deliver : .fail(.ringChanged) }
        let written = cluster.write(on: 0, Sample.put(Self.key, 1, at: 5), .quorum)
        #expect(written?.error?.code == .writeFailure && cluster.lastRefusal == .newerMembers)
        let read = cluster.wait(on: 0) { coordinator, view, now in
            coordinator.read(Sample.command(.all), consistency: .quorum, cluster: view, isByKey: false, now: now)
        }
        #expect(read?.error?.code == .readFailure && cluster.lastRefusal == .newerMembers)
        cluster.fate = { _, to, _ in to == 0 ? .deliver : .fail(.storage) }
        #expect(
            cluster.write(on: 0, Sample.put(Self.key, 1, at: 6), .quorum)?.error != nil && cluster.lastRefusal == nil)
    }

    @Test func isReplicaOfAllChecksEveryPartition() {
        let cluster = VirtualCluster(4, seed: 1, options: ["class": "SimpleStrategy", "replication_factor": "2"])
        let view = cluster.view(0)
        for node in 0..<4 {
            let token = cluster.ringNodes[node].claims[0].token
            let owners = (0..<4).filter {
                view.isReplica(VirtualCluster.id($0), ofAll: Sample.put(Sample.key(token: token, 1, []), 1, at: 5))
            }
            #expect(owners == [node, (node + 1) % 4].sorted(), "SimpleStrategy: the owner and the next")
        }
        let all = (0..<4).flatMap {
            Sample.put(Sample.key(token: cluster.ringNodes[$0].claims[0].token, 1, []), 1, at: 5)
        }
        #expect(!(0..<4).contains { view.isReplica(VirtualCluster.id($0), ofAll: all) })
        #expect(!view.isReplica(VirtualCluster.id(9), ofAll: []), "no member")
        #expect(view.isReplica(VirtualCluster.id(1), ofAll: []))
    }

    @Test func anyWithoutHintsNeedsALiveReplica() {
        var limits = CoordinatorLimits()
        limits.hintedHandoff = false
        let cluster = VirtualCluster(
            4, seed: 1, options: ["class": "SimpleStrategy", "replication_factor": "1"], limits: limits)
        let token = cluster.ringNodes[1].claims[0].token
        cluster.dead = [1]
        let result = cluster.write(on: 0, Sample.put(Sample.key(token: token, 1, []), 1, at: 5), .any)
        #expect(result?.error?.detail == .unavailable(consistency: .any, required: 1, alive: 0))
        #expect(cluster.now < limits.writeTimeout)
    }

    /// Random fates of the requests of one write determine its result, counts and hints.
    @Test(arguments: 0..<300) func resultAndHintsMatchTheAnswers(seed: UInt64) {
        let cluster = VirtualCluster(5, seed: seed)
        let levels: [Consistency] = [.any, .one, .two, .three, .quorum, .all]
        let level = levels[Int(cluster.random.next() % 6)]
        let mutation = Sample.put(Sample.key(token: Int64(bitPattern: cluster.random.next()), 1, [1]), 1, at: 5)
        for index in 1..<5 where cluster.chance(0.2) { cluster.dead.insert(index) }
        let view = cluster.view(0)
        let token = mutation.withUnsafeBytes { KeyView(UnsafeRawBufferPointer(rebasing: $0[29...])).token }
        let replicas = view.placement(of: VirtualCluster.table)?.table.replicas(for: token).map { Int($0) } ?? []
        let alive = replicas.filter { !cluster.dead.contains($0) }
        var acknowledged: Set<Int> = []
        var failed: Set<Int> = []
        var fates: [Int: Fate] = [:]
        for node in alive {
            switch cluster.random.next() % 6 {
            case 0: fates[node] = .lose
            case 1: fates[node] = .loseReply
            case 2:
                fates[node] = .fail(.storage)
                failed.insert(node)
            case 3: fates[node] = .delay(cluster.limits.writeTimeout + 1)  // acknowledged too late
            default:
                fates[node] = .deliver
                acknowledged.insert(node)
            }
        }
        cluster.fate = { _, to, _ in fates[to] }
        let result = cluster.write(on: 0, mutation, level)
        cluster.run(for: 10_000_000)
        let required = ConsistencyCheck.required(level, Replication(total: 3, local: 3, dataCenters: [:]))
        let comment = Comment(
            rawValue: "seed \(seed) \(level) alive \(alive) acknowledged \(acknowledged) failed \(failed)")
        if level != .any && alive.count < required {
            #expect(
                result?.error?.detail
                    == .unavailable(consistency: level, required: Int32(required), alive: Int32(alive.count)), comment)
            #expect(cluster.sent.isEmpty && cluster.hints.isEmpty, comment)
            return
        }
        let hinted = cluster.hints.map(\.to).sorted()
        #expect(hinted == replicas.filter { !acknowledged.contains($0) }.map(VirtualCluster.id).sorted(), comment)
        #expect(cluster.hints.allSatisfy { $0.mutations == mutation }, comment)
        if level == .any || acknowledged.count >= required {
            #expect(result?.value != nil, comment)
        } else if alive.count - failed.count < required {
            guard
                case .writeFailure(level, let received, Int32(required), let failures, "SIMPLE") = result?.error?.detail
            else {
                Issue.record(comment)
                return
            }
            #expect(
                received <= acknowledged.count && failures <= failed.count && alive.count - Int(failures) < required,
                comment)
        } else {
            #expect(
                result?.error?.detail
                    == .writeTimeout(
                        consistency: level, received: Int32(acknowledged.count), required: Int32(required),
                        writeType: "SIMPLE"), comment)
            #expect(cluster.now >= cluster.limits.writeTimeout)
        }
        #expect(cluster.view(0).isAlive.count == 5 && cluster.idle(0), comment)
    }

    @Test func pendingReplicaIsAskedAndMustAnswer() {
        let cluster = VirtualCluster(4, seed: 3)
        cluster.ringNodes[3].state = .joining
        let token = cluster.ringNodes[3].claims[0].token
        let mutation = Sample.put(Sample.key(token: token, 1, []), 1, at: 5)
        #expect(
            cluster.view(0).placement(of: VirtualCluster.table)?.table.pendingReplicas(for: token).map { Int($0) } == [
                3
            ])
        cluster.fate = { _, to, _ in to < 2 ? .deliver : .lose }
        #expect(
            cluster.write(on: 0, mutation, .quorum)?.error?.detail
                == .writeTimeout(consistency: .quorum, received: 2, required: 3, writeType: "SIMPLE"))
        cluster.fate = { _, to, _ in to != 2 ? .deliver : .lose }
        #expect(cluster.write(on: 0, mutation, .quorum)?.value != nil)
    }

    @Test func counterLeaderAddsOnce() {
        let cluster = VirtualCluster(3, seed: 4)
        var delta = MutationWriter()
        delta.beginTable(VirtualCluster.table)
        delta.beginRow(key: Sample.writer(Self.key), timestamp: 9, liveness: false)
        withUnsafeBytes(of: Int64(5).bigEndian) { delta.cell(column: 0, timestamp: 9, value: $0, isCounter: true) }
        delta.endRow()
        delta.endTable()
        let bytes = delta.out.toArray()
        for node in 0..<3 {
            let result = cluster.wait(on: node) { (coordinator, view, now) throws(ServerError) in
                try coordinator.count(bytes, consistency: .all, cluster: view, now: now)
            }
            #expect(result?.value != nil)
        }
        let rows = cluster.nodes.map { $0.replica.rows(VirtualCluster.table, .all).map(\.row) }
        #expect(rows[0] == rows[1] && rows[1] == rows[2] && rows[0].count == 1)
        rows[0][0].withUnsafeBytes { row in
            var cells = RowView(row).cells
            #expect(cells.advance() && CounterValue.total(cells.value) == 15)
        }
    }

    /// If one partition of a counter batch is unavailable, no counter is incremented.
    @Test func counterBatchWithUnavailablePartitionSendsNothing() {
        let cluster = VirtualCluster(4, seed: 1, options: ["class": "SimpleStrategy", "replication_factor": "1"])
        let tokens = cluster.ringNodes.map { $0.claims[0].token }
        cluster.dead = [1]
        let result = cluster.wait(on: 0) { (coordinator, view, now) throws(ServerError) in
            let bytes =
                Sample.put(Sample.key(token: tokens[1], 1, []), 1, at: 5)
                + Sample.put(Sample.key(token: tokens[2], 2, []), 1, at: 5)
            return try coordinator.count(bytes, consistency: .one, cluster: view, now: now)
        }
        #expect(result?.error?.code == .unavailable)
        #expect(cluster.sent.isEmpty)
    }

    @Test func operationsBeyondTheLimitAreRefused() {
        var limits = CoordinatorLimits()
        limits.operations = 1
        let cluster = VirtualCluster(3, seed: 1, limits: limits)
        // A range read is two operations, one within the other.
        let result = cluster.wait(on: 0) { coordinator, view, now in
            coordinator.read(Sample.one(Self.key), consistency: .one, cluster: view, isByKey: false, now: now)
        }
        #expect(result?.error?.code == .overloaded)
        #expect(cluster.write(on: 0, Sample.put(Self.key, 1, at: 5), .all)?.value != nil)
        #expect(cluster.idle(0))
    }
}
