import DataModel
import Messages
import Primitives
import Testing
import VirtualCluster

@testable import Cluster
@testable import Coordinator

@Suite struct SpeculativeRetryTests {
    @Test func everyOptionOfTheSchemaIsParsed() {
        #expect(SpeculativeRetry(option: "ALWAYS") == .always)
        #expect(SpeculativeRetry(option: "NEVER") == .never)
        #expect(SpeculativeRetry(option: "none") == .never)
        #expect(SpeculativeRetry(option: "99p") == .percentile(99))
        #expect(SpeculativeRetry(option: "99.9PERCENTILE") == .percentile(99.9))
        #expect(SpeculativeRetry(option: "10ms") == .after(10_000))
        #expect(SpeculativeRetry(option: "0.5ms") == .after(500))
        #expect(SpeculativeRetry(option: "MIN(99p, 50ms)") == .least(.percentile(99), .after(50_000)))
        #expect(SpeculativeRetry(option: "max(never,2ms)") == .most(.never, .after(2000)))
    }

    @Test func percentileIsAccurateToOneEighth() {
        var histogram = LatencyHistogram()
        #expect(histogram.percentile(50) == nil, "nothing is known")
        for latency in 1...10_000 {
            histogram.note(Int64(latency))
            if latency == 4000 {
                for percent in [10.0, 50, 99] {
                    let exact = percent / 100 * 4000
                    let found = Double(histogram.percentile(percent) ?? 0)
                    #expect(found >= exact && found <= exact * 1.13 + 1, "\(percent)")
                }
            }
        }
        for latency: Int64 in [-5, 0, 1, .max] { histogram.note(latency) }
        #expect(histogram.percentile(100).map { $0 >= 1 << 29 } == true)
    }

    @Test func oldLatenciesDecay() {
        var histogram = LatencyHistogram()
        for _ in 0..<20_000 { histogram.note(1_000_000) }
        for _ in 0..<20_000 { histogram.note(1000) }
        #expect((histogram.percentile(50) ?? 0) <= 1130)
    }

    @Test func delayFollowsThePolicy() {
        var histogram = LatencyHistogram()
        #expect(SpeculativeRetry.percentile(99).delay(histogram, otherwise: 50_000) == 50_000)
        #expect(SpeculativeRetry.never.delay(histogram, otherwise: 1) == nil)
        #expect(SpeculativeRetry.always.delay(histogram, otherwise: 1) == 0)
        for _ in 0..<1000 { histogram.note(1000) }
        #expect(SpeculativeRetry.least(.percentile(99), .after(100)).delay(histogram, otherwise: 1) == 100)
        #expect(
            SpeculativeRetry.most(.percentile(99), .after(100)).delay(histogram, otherwise: 1).map {
                (1000...1130).contains($0)
            } == true)
        #expect(SpeculativeRetry.least(.never, .after(100)).delay(histogram, otherwise: 1) == 100)
        #expect(SpeculativeRetry.most(.never, .after(100)).delay(histogram, otherwise: 1) == nil)
        let latencies = TableLatencies(.percentile(99), otherwise: 50_000)
        for _ in 0..<1024 { latencies.note(2000) }
        #expect(latencies.delay.map { (2000...2260).contains($0) } == true)
    }

    // MARK: In a cluster

    private static let key = Sample.key(token: 1, 1, [])

    private static func read(_ cluster: VirtualCluster, _ consistency: Consistency) -> Result<Outcome, ServerError>? {
        cluster.wait(on: 0) { coordinator, view, now in
            coordinator.read(Sample.one(key), consistency: consistency, cluster: view, isByKey: true, now: now)
        }
    }

    @Test func alwaysAsksOneMoreReplica() {
        let cluster = VirtualCluster(3, seed: 1)
        cluster.rules.speculativeRetry = .always
        #expect(Self.read(cluster, .one)?.value != nil)
        #expect(cluster.sent == [.read: 1, .digest: 1])
        // The replica that is asked first does not answer, and the read does not wait for it.
        cluster.fate = { _, to, request in
            if case .read = request, to == 0 { return .lose }
            return .deliver
        }
        cluster.sent = [:]
        _ = Self.read(cluster, .all)
        #expect(cluster.sent[.read] == 1, "nobody is left to ask")
    }

    @Test func neverAsksNoOtherReplica() {
        let cluster = VirtualCluster(3, seed: 1)
        cluster.rules.speculativeRetry = .never
        cluster.fate = { _, to, _ in to == 0 ? .lose : .deliver }
        #expect(Self.read(cluster, .one)?.error?.code == .readTimeout)
        #expect(cluster.sent == [.read: 1])
    }

    @Test func percentileFollowsMeasuredLatencies() {
        let cluster = VirtualCluster(3, seed: 1)
        cluster.rules.speculativeRetry = .percentile(99)
        for _ in 0..<300 { #expect(Self.read(cluster, .quorum)?.value != nil) }
        let usual = cluster.now / 300
        cluster.fate = { _, to, _ in to == 0 ? .lose : .deliver }
        let before = cluster.now
        #expect(Self.read(cluster, .quorum)?.value != nil)
        #expect(
            cluster.now - before < 6 * usual && cluster.now - before < 10_000,
            "\(cluster.now - before) us, usually \(usual)")
        #expect(cluster.nodes[0].coordinator.counters.speculativeReads >= 1)
    }

    @Test func tableWithoutReadRepairIsNotRepaired() {
        for repairs in [true, false] {
            let cluster = VirtualCluster(3, seed: 1)
            cluster.rules.repairsReads = repairs
            for node in cluster.nodes {
                node.replica.apply(Sample.put(Self.key, Int64(node.index), at: Int64(node.index) + 1))
            }
            #expect(Self.read(cluster, .all)?.value != nil)
            #expect((cluster.sent[.repair] ?? 0) == (repairs ? 2 : 0))
        }
    }
}
