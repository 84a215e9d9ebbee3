import DataModel
import Messages
import Primitives
import Testing
import VirtualCluster

@testable import Cluster
@testable import Coordinator

@Suite struct SloppyQuorumTests {
    private static let key = Sample.key(token: 1, 1, [])
    private static let mutation = Sample.put(key, 1, at: 5)

    private func replicas(_ cluster: VirtualCluster) -> [Int] {
        cluster.view(0).placement(of: VirtualCluster.table)?.table.replicas(for: 1).map { Int($0) } ?? []
    }

    private func kept(_ cluster: VirtualCluster) -> [[UUID]] { cluster.nodes.map { $0.replica.kept.map(\.node) } }

    private func fallbackReplicas(_ result: Result<Outcome, ServerError>?) -> Int? {
        if case .sloppy(let count)? = result?.value { count } else { nil }
    }

    @Test func nextNodeStoresHintForDeadReplica() throws {
        for coordinator in 0..<4 {
            let cluster = VirtualCluster(4, seed: 1)
            cluster.rules.isSloppy = true
            let replicas = replicas(cluster)
            let other = try #require((0..<4).first { !replicas.contains($0) })
            cluster.dead = Set(replicas.filter { $0 != coordinator }.prefix(2))
            let dead = replicas.filter { cluster.dead.contains($0) }
            cluster.fate = { _, to, _ in cluster.dead.contains(to) ? .lose : .deliver }
            #expect(fallbackReplicas(cluster.write(on: coordinator, Self.mutation, .quorum)) == 1)
            // The fallback node stores the write for the first dead replica. For the second no node is left, so the
            // coordinator stores the hint.
            #expect(cluster.nodes[other].replica.kept.map(\.node) == [VirtualCluster.id(dead[0])])
            #expect(cluster.nodes[other].replica.kept.first?.mutations == Self.mutation)
            #expect(kept(cluster).joined().count == 1)
            #expect(cluster.hints.map(\.to) == [VirtualCluster.id(dead[1])])
            // The fallback node does not store the row as its own: reads use replicas only.
            #expect(cluster.nodes[other].replica.rows(VirtualCluster.table, .all).isEmpty)
            let read = cluster.wait(on: coordinator) { coordinator, view, now in
                coordinator.read(Sample.one(Self.key), consistency: .quorum, cluster: view, isByKey: true, now: now)
            }
            #expect(read?.error?.detail == .unavailable(consistency: .quorum, required: 2, alive: 1))
        }
    }

    @Test func fallbackNodesAreNotUsedWhenAQuorumIsAlive() {
        let cluster = VirtualCluster(4, seed: 1)
        cluster.rules.isSloppy = true
        cluster.dead = [replicas(cluster)[1]]
        #expect(fallbackReplicas(cluster.write(on: replicas(cluster)[0], Self.mutation, .quorum)) == nil)
        #expect(cluster.sent[.keepHint] == nil && cluster.hints.count == 1)
    }

    @Test func keyspaceWithoutSloppyQuorumIsUnavailable() {
        let cluster = VirtualCluster(4, seed: 1)
        let replicas = replicas(cluster)
        cluster.dead = [replicas[1], replicas[2]]
        #expect(
            cluster.write(on: replicas[0], Self.mutation, .quorum)?.error?.detail
                == .unavailable(consistency: .quorum, required: 2, alive: 1))
        #expect(cluster.sent.isEmpty)
    }

    @Test func tooFewFallbackNodesAreUnavailable() {
        let cluster = VirtualCluster(4, seed: 1)
        cluster.rules.isSloppy = true
        let replicas = replicas(cluster)
        cluster.dead = [replicas[1], replicas[2]]
        #expect(
            cluster.write(on: replicas[0], Self.mutation, .all)?.error?.detail
                == .unavailable(consistency: .all, required: 3, alive: 2))
        var limits = CoordinatorLimits()
        limits.hintedHandoff = false
        let hintless = VirtualCluster(4, seed: 1, limits: limits)
        hintless.rules.isSloppy = true
        hintless.dead = cluster.dead
        #expect(hintless.write(on: replicas[0], Self.mutation, .quorum)?.error?.code == .unavailable)
        #expect(cluster.sent.isEmpty && hintless.sent.isEmpty)
    }

    @Test func loggedBatchesCountersAndTransactionsAreNeverSloppy() {
        for type in [WriteType.batch, .counter, .cas] {
            let cluster = VirtualCluster(4, seed: 1)
            cluster.rules.isSloppy = true
            let replicas = replicas(cluster)
            cluster.dead = [replicas[1], replicas[2]]
            #expect(cluster.write(on: replicas[0], Self.mutation, .quorum, type: type)?.error?.code == .unavailable)
        }
    }

    @Test func failedFallbackNodeDoesNotCount() throws {
        let cluster = VirtualCluster(4, seed: 1)
        cluster.rules.isSloppy = true
        let replicas = replicas(cluster)
        cluster.dead = [replicas[1], replicas[2]]
        cluster.fate = { _, _, request in if case .keepHint = request { .fail(.overloaded) } else { .deliver } }
        let result = cluster.write(on: replicas[0], Self.mutation, .quorum)
        #expect(
            result?.error?.detail
                == .writeFailure(consistency: .quorum, received: 0, required: 2, failures: 1, writeType: "SIMPLE"),
            "\(String(describing: result))")
        #expect(Set(cluster.hints.map(\.to)) == [VirtualCluster.id(replicas[1]), VirtualCluster.id(replicas[2])])
        let silent = VirtualCluster(4, seed: 1)
        silent.rules.isSloppy = true
        silent.dead = cluster.dead
        silent.fate = { _, _, request in if case .keepHint = request { .lose } else { .deliver } }
        #expect(
            silent.write(on: replicas[0], Self.mutation, .quorum)?.error?.detail
                == .writeTimeout(consistency: .quorum, received: 1, required: 2, writeType: "SIMPLE"))
        #expect(Set(silent.hints.map(\.to)) == Set(cluster.hints.map(\.to)))
    }

    /// Returns a cluster of two data centers with five nodes on three racks each.
    private func twoCenters() -> VirtualCluster {
        let locations = (0..<10).map { Location(dataCenter: $0 % 2 == 0 ? "a" : "b", rack: "r\($0 / 2 % 3)") }
        let cluster = VirtualCluster(
            10, seed: 1, options: ["class": "NetworkTopologyStrategy", "a": "3", "b": "3"], locations: locations)
        cluster.rules.isSloppy = true
        return cluster
    }

    @Test func fallbackNodeIsInTheDataCenterOfTheDeadReplica() throws {
        for level in [Consistency.localQuorum, .quorum, .eachQuorum] {
            let cluster = twoCenters()
            let replicas = replicas(cluster)
            let near = replicas.filter { $0 % 2 == 0 }
            let far = replicas.filter { $0 % 2 == 1 }
            // One replica of the local data center is up. Of the remote one: all at LOCAL_QUORUM, none at QUORUM, one
            // at EACH_QUORUM.
            cluster.dead = Set(near.dropFirst()).union(
                level == .localQuorum ? [] : level == .quorum ? Set(far) : Set(far.dropFirst()))
            let result = cluster.write(on: near[0], Self.mutation, level)
            #expect(fallbackReplicas(result) ?? 0 > 0, "\(level) \(String(describing: result))")
            for node in cluster.nodes {
                for kept in node.replica.kept {
                    let target = try #require((0..<10).first { VirtualCluster.id($0) == kept.node })
                    #expect(target % 2 == node.index % 2 && cluster.dead.contains(target))
                    #expect(level != .localQuorum || node.index % 2 == 0)
                }
            }
        }
    }

    @Test func fallbackNodesOnOtherRacksComeFirst() throws {
        let cluster = twoCenters()
        let view = cluster.view(0)
        let placement = try #require(view.placement(of: VirtualCluster.table))
        for token in stride(from: Int64.min, through: Int64.max - (1 << 60), by: 1 << 59) {
            let natural = placement.table.replicas(for: token).map { Int($0) }
            let near = natural.filter { $0 % 2 == 0 }
            #expect(Set(near.map { cluster.ringNodes[$0].location.rack }).count == 3)
            // The two spare nodes of the data center are on two of the three racks; one on the dead replica's rack is
            // preferred.
            for dead in near where dead != 0 {
                cluster.dead = [dead]
                let view = cluster.view(0)
                let count = ResponseTracker(.all, placement.replication, near: "a")
                let found = view.fallbackReplicas(
                    of: token, natural: natural, replicas: natural, placement: placement, count: count)
                let able = [0, 2, 4, 6, 8].filter { !natural.contains($0) }
                let onItsRack = able.filter {
                    cluster.ringNodes[$0].location.rack == cluster.ringNodes[dead].location.rack
                }
                #expect(
                    found.count == 1 && found[0].replica == dead
                        && (onItsRack.isEmpty || onItsRack.contains(found[0].node)))
            }
        }
    }

    @Test func fallbackNodeGetsSeveralPartitionsInOneMessage() throws {
        let cluster = VirtualCluster(4, seed: 1)
        cluster.rules.isSloppy = true
        let replicas = replicas(cluster)
        let other = try #require((0..<4).first { !replicas.contains($0) })
        cluster.dead = [replicas[1], replicas[2]]
        let batch = Self.mutation + Sample.put(Sample.key(token: 2, 2, []), 2, at: 5)
        #expect(fallbackReplicas(cluster.write(on: replicas[0], batch, .quorum, type: .unloggedBatch)) == 1)
        #expect(cluster.nodes[other].replica.kept.map(\.mutations) == [batch])
    }

    @Test func clientIsWarnedOfSloppyWrite() throws {
        let cluster = VirtualCluster(4, seed: 1)
        cluster.rules.isSloppy = true
        let replicas = replicas(cluster)
        cluster.dead = [replicas[1], replicas[2]]
        let warnings = cluster.wait(on: replicas[0], .quorum) { port throws(ReplicaError) -> [String] in
            var writer = MutationWriter()
            writer.out.write(Self.mutation)
            try port.apply(writer, type: .simple)
            return port.warnings
        }
        #expect(
            warnings?.value == [
                "Too few replicas are alive for QUORUM: 1 other node keeps the write for those that are down (sloppy_quorum). "
                    + "Reads may miss it until they are back."
            ])
    }
}
