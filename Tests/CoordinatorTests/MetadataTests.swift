import DataModel
import Messages
import Primitives
import Testing
import VirtualCluster

@testable import Cluster
@testable import Coordinator

@Suite struct MetadataTests {
    /// Returns a change that adds a byte to the schema unless it is there.
    private static func adding(_ word: UInt8) -> (ClusterMetadata) throws(ServerError) -> ClusterMetadata? {
        { metadata in
            guard !metadata.schema.contains(word) else { return nil }
            var next = metadata
            next.schema.append(word)
            return next
        }
    }

    private static func change(
        _ cluster: VirtualCluster, on index: Int, _ word: UInt8, timeout: Int64 = 10_000_000,
        then: @escaping (Result<Outcome, ServerError>?) -> Void
    ) {
        let node = cluster.nodes[index]
        do throws(ServerError) {
            try cluster.begin(
                on: index,
                { coordinator, view, now in
                    coordinator.changeMetadata(
                        base: node.acceptor.current, cluster: view, timeout: timeout, now: now,
                        learned: { node.learn($0) },
                        change: Self.adding(word))
                }, then: then)
        } catch { then(.failure(error)) }
    }

    private static func waitChange(_ cluster: VirtualCluster, on index: Int, _ word: UInt8, timeout: Int64 = 10_000_000)
        -> Result<
            Outcome, ServerError
        >?
    {
        var result: Result<Outcome, ServerError>?
        var isDone = false
        Self.change(cluster, on: index, word, timeout: timeout) {
            result = $0
            isDone = true
        }
        cluster.run { !isDone }
        return result
    }

    /// Checks that no version has two values and that no node goes back to an older version.
    private static func checkVersions(_ cluster: VirtualCluster) {
        var chosen: [UInt64: ClusterMetadata] = [:]
        for node in cluster.nodes {
            for version in node.versions {
                if let other = chosen[version.epoch] {
                    #expect(other == version, "seed \(cluster.seed): version \(version.epoch) has two values")
                }
                chosen[version.epoch] = version
            }
            #expect(
                zip(node.versions, node.versions.dropFirst()).allSatisfy { $0.epoch < $1.epoch }, "seed \(cluster.seed)"
            )
        }
        // Each version is the previous one plus one byte.
        for (epoch, version) in chosen {
            guard let before = chosen[epoch - 1] else { continue }
            #expect(
                version.schema.count == before.schema.count + 1 && version.schema.starts(with: before.schema),
                "seed \(cluster.seed)")
        }
    }

    @Test(arguments: 0..<80) func concurrentChangesAreEachMadeOnce(seed: UInt64) {
        let count = 3 + Int(seed % 3)
        let cluster = VirtualCluster(count, seed: seed, skew: seed % 2 == 0 ? 5_000 : 0)
        cluster.faults = NetworkFaults(
            loss: seed % 4 == 0 ? 0 : 0.05, reported: Double(seed % 3) / 2, duplicates: 0.05, slow: 0.02,
            delay: seed % 5 == 0 ? 500...500 : 100...3_000)
        var succeeded: Set<UInt8> = []
        var refused: Set<UInt8> = []
        var cut = 0
        for word in 0..<UInt8(20) {
            let node = Int(cluster.random.next() % UInt64(count))
            cluster.at(cluster.pick(0...3_000_000)) {
                guard cluster.isUp(node) else {
                    cut += 1
                    return
                }
                Self.change(cluster, on: node, word) { result in
                    switch result {
                    case .success?: succeeded.insert(word)
                    case .failure(let error)?: if error.code == .unavailable { refused.insert(word) }
                    case nil: cut += 1
                    }
                }
            }
        }
        for _ in 0..<Int(cluster.random.next() % 4) {
            let node = Int(cluster.random.next() % UInt64(count))
            let when = cluster.pick(0...3_000_000)
            let isSeen = cluster.chance(0.5)
            cluster.at(when) {
                // Only a minority may be down.
                guard (0..<count).filter({ !cluster.isUp($0) }).count < (count - 1) / 2 else { return }
                cluster.stop(node)
                if isSeen { cluster.dead.insert(node) }
                cluster.at(cluster.now + 500_000) {
                    cluster.start(node)
                    cluster.dead.remove(node)
                }
            }
        }
        cluster.run()
        Self.checkVersions(cluster)
        // Despite the faulty network every change succeeds whose node did not crash, because a majority is up.
        #expect(succeeded.count + cut == 20, "seed \(seed): \(succeeded.count), \(cut)")
        // After all faults healed, every node learns the last version.
        cluster.faults = NetworkFaults()
        cluster.dead = []
        for node in 0..<count { cluster.start(node) }
        let last = Self.waitChange(cluster, on: 0, 100)
        #expect(last?.value != nil, "seed \(seed): \(String(describing: last?.error))")
        cluster.run()
        Self.checkVersions(cluster)
        let current = cluster.nodes[0].acceptor.current
        for node in cluster.nodes { #expect(node.acceptor.current == current, "seed \(seed)") }
        for word in succeeded {
            #expect(current.schema.filter { $0 == word }.count == 1, "seed \(seed): \(word) of \(current.schema)")
        }
        #expect(Set(current.schema).count == current.schema.count, "seed \(seed)")
        // Changes reported as refused were not made.
        for word in refused { #expect(!current.schema.contains(word), "seed \(seed): \(word) was refused and made") }
        for node in 0..<count { #expect(cluster.idle(node), "seed \(seed)") }
    }

    @Test func nothingChangesWithoutMajority() {
        let cluster = VirtualCluster(5, seed: 1)
        cluster.stop(2)
        cluster.stop(3)
        #expect(Self.waitChange(cluster, on: 0, 1)?.value != nil)
        cluster.stop(4)
        let result = Self.waitChange(cluster, on: 0, 2, timeout: 2_000_000)
        guard case .unavailable(.quorum, 3, let alive)? = result?.error?.detail else {
            Issue.record("\(String(describing: result))")
            return
        }
        #expect(alive < 3)
        cluster.start(2)
        #expect(Self.waitChange(cluster, on: 0, 3)?.value != nil)
        #expect(cluster.nodes[2].acceptor.current.schema == [1, 3])
    }

    /// When a message is lost, it is sent again instead of waiting for the silent member.
    @Test func lostMessageIsSentAgain() {
        let cluster = VirtualCluster(3, seed: 1)
        cluster.stop(2)
        var lost = 0
        cluster.fate = { _, to, request in
            if to == 1, case .metadata(.prepare) = request, lost == 0 {
                lost += 1
                return .lose
            }
            return .deliver
        }
        #expect(Self.waitChange(cluster, on: 0, 1)?.value != nil)
        cluster.fate = { _, to, request in
            if to == 1, case .metadata(.accept) = request, lost == 1 {
                lost += 1
                return .loseReply
            }
            return .deliver
        }
        #expect(Self.waitChange(cluster, on: 0, 2)?.value != nil)
        #expect(lost == 2)
        #expect(cluster.nodes[0].acceptor.current.schema == [1, 2])
    }

    /// A change that may have been made is reported as such, even if another attempt was in progress at the end.
    @Test func outcomeOfUnansweredProposalIsUnknown() {
        let cluster = VirtualCluster(3, seed: 1)
        var isCut = false
        cluster.fate = { _, to, request in
            if case .metadata(.accept) = request, to != 0 {
                isCut = true
                return .loseReply
            }
            return isCut && to != 0 ? .fail(.connectionLost) : .deliver
        }
        let result = Self.waitChange(cluster, on: 0, 1, timeout: 3_000_000)
        #expect(result?.error?.code == .serverError, "\(String(describing: result))")
        cluster.fate = nil
        #expect(Self.waitChange(cluster, on: 1, 2)?.value != nil)
        cluster.run()
        #expect(cluster.nodes[2].acceptor.current.schema == [1, 2])
    }

    /// A member that missed several versions is brought up to date.
    @Test func nodeThatIsBehindCatchesUp() {
        let cluster = VirtualCluster(3, seed: 1)
        cluster.stop(2)
        for word in 0..<UInt8(4) { #expect(Self.waitChange(cluster, on: 0, word)?.value != nil) }
        cluster.start(2)
        cluster.stop(1)
        #expect(Self.waitChange(cluster, on: 0, 9)?.value != nil)
        #expect(cluster.nodes[2].acceptor.current.schema == [0, 1, 2, 3, 9])
        // A member that is behind learns the current version when it makes a change itself.
        cluster.start(1)
        #expect(Self.waitChange(cluster, on: 1, 10)?.value != nil)
        #expect(cluster.nodes[1].acceptor.current.schema == [0, 1, 2, 3, 9, 10])
        Self.checkVersions(cluster)
    }

    @Test func acceptorKeepsItsPromisesAndAcceptedValue() throws {
        let ballots = (1...3).map { Ballot(timestamp: Int64($0), node: VirtualCluster.id($0)) }
        var acceptor = MetadataAcceptor(current: ClusterMetadata(epoch: 4))
        var next = ClusterMetadata(epoch: 5)
        next.schema = [1]
        #expect(acceptor.handle(.prepare(epoch: 5, ballots[0])).reply == .behind(epoch: 4))
        #expect(
            acceptor.handle(.prepare(epoch: 3, ballots[0])).reply
                == .current(epoch: 4, value: acceptor.current.encode()))
        #expect(acceptor.handle(.prepare(epoch: 4, ballots[1])).reply == .promise(accepted: nil, value: []))
        #expect(acceptor.handle(.prepare(epoch: 4, ballots[1])).reply == .refused(promised: ballots[1]))
        #expect(acceptor.handle(.accept(epoch: 4, ballots[0], value: [1])).reply == .refused(promised: ballots[1]))
        #expect(acceptor.handle(.accept(epoch: 4, ballots[1], value: next.encode())).reply == .accepted)
        // Restart: the acceptor as read back from its file.
        acceptor = try MetadataAcceptor(decoding: acceptor.encode())
        #expect(
            acceptor.handle(.prepare(epoch: 4, ballots[2])).reply
                == .promise(accepted: ballots[1], value: next.encode()))
        #expect(acceptor.handle(.chosen(epoch: 4, value: next.encode())).hasChanged)
        #expect(acceptor.current == next && acceptor.promised == .none)
        #expect(!acceptor.handle(.chosen(epoch: 4, value: next.encode())).hasChanged)
        #expect(!acceptor.handle(.chosen(epoch: 4, value: [1, 2, 3])).hasChanged)
        #expect(acceptor.handle(.prepare(epoch: 5, ballots[0])).reply == .promise(accepted: nil, value: []))
    }
}
