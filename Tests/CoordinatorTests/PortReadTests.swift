import DataModel
import Messages
import ModelReplica
import Primitives
import Testing
import VirtualCluster

@testable import Cluster
@testable import Coordinator

@Suite struct PortReadTests {
    private static let now = UInt32(VirtualTime.epoch / 1_000_000)

    /// Writes rows of many partitions so that each change reaches only a quorum of its replicas.
    private static func filled(_ cluster: VirtualCluster) -> ModelReplica {
        var model = ModelReplica()
        var keys: [[UInt8]] = []
        for partition in 0..<8 {
            let token = Int64(bitPattern: cluster.random.next())
            for row in 0..<Int(cluster.random.next() % 12) {
                keys.append(Sample.key(token: token, UInt8(partition), [UInt8(row)]))
            }
        }
        for step in 0..<keys.count * 2 {
            let key = keys[step < keys.count ? step : Int(cluster.random.next() % UInt64(keys.count))]
            let timestamp = Int64(step + 1)
            let mutation: [UInt8]
            switch step < keys.count ? 9 : cluster.random.next() % 4 {
            case 0, 1: mutation = Sample.deleteRow(key, at: timestamp, local: now - 100)
            case 2:
                let length = 1 + UInt8(cluster.random.next() % 5)
                mutation = Sample.deleteRange(
                    key, key.dropLast() + [key.last! &+ length], at: timestamp, local: now - 100)
            default: mutation = Sample.put(key, timestamp, at: timestamp)
            }
            model.apply(mutation)
            let view = cluster.view(0)
            let token = key.withUnsafeBytes { KeyView($0).token }
            let replicas = view.placement(of: VirtualCluster.table)?.table.replicas(for: token).map { Int($0) } ?? []
            let missed = replicas[Int(cluster.random.next() % 3)]
            for replica in replicas where replica != missed || cluster.chance(0.3) {
                cluster.nodes[replica].replica.apply(mutation)
            }
        }
        return model
    }

    private static func live(_ rows: [(key: [UInt8], row: [UInt8])]) -> [[UInt8]] {
        rows.filter { $0.row.withUnsafeBytes { RowView($0).isLive(now: now) } }.map { $0.key + $0.row }
    }

    @Test(arguments: 0..<60) func scansReturnExactlyTheLiveRows(seed: UInt64) {
        let cluster = VirtualCluster(5, seed: seed, tokensPerNode: 3)
        let model = Self.filled(cluster)
        if cluster.chance(0.3) { cluster.dead = [Int(cluster.random.next() % 5)] }
        for page in 0...5 {
            for reversed in [false, true] {
                var range = KeyRange.all
                if cluster.chance(0.3) {
                    range.start = Sample.prefix(token: Int64(bitPattern: cluster.random.next() >> 1) &- Int64.max, 3)
                }
                let node = (0..<5).filter { !cluster.dead.contains($0) }[Int(cluster.random.next() % 4)]
                let result = cluster.wait(on: node, .quorum, pageRows: page) { (port) throws(ReplicaError) in
                    var found: [(key: [UInt8], row: [UInt8])] = []
                    try port.scan(table: VirtualCluster.table, range: range, reversed: reversed) { key, row in
                        found.append(([UInt8](key), [UInt8](row.bytes)))
                        return .next
                    }
                    return Self.live(found)
                }
                let expected = Self.live(model.rows(VirtualCluster.table, range, reversed: reversed))
                #expect(
                    result?.value == expected,
                    "seed \(seed) page \(page) reversed \(reversed) \(String(describing: result?.error))")
            }
        }
    }

    /// Of two partitions read at ONE, this node holds the first and another node the second.
    @Test func requestReadsLocalAndRemotePartitions() {
        let cluster = VirtualCluster(4, seed: 1, options: ["class": "SimpleStrategy", "replication_factor": "1"])
        let tokens = cluster.ringNodes.map { $0.claims[0].token }
        let keys = tokens.indices.map { Sample.key(token: tokens[$0], UInt8($0), []) }
        for index in keys.indices {
            cluster.nodes[index].replica.apply(Sample.put(keys[index], Int64(100 + index), at: 5))
        }
        for node in 0..<4 {
            let result = cluster.wait(on: node, .one) { (port) throws(ReplicaError) in
                var values: [Int64] = []
                for key in keys {
                    try port.get(table: VirtualCluster.table, key: Sample.writer(key)) {
                        values.append(Sample.value($0) ?? 0)
                    }
                }
                for key in keys {
                    try port.scan(
                        table: VirtualCluster.table, range: KeyRange(start: key, end: key + [0]), reversed: false
                    ) { _, row in
                        values.append(Sample.value(row) ?? 0)
                        return .next
                    }
                }
                return values
            }
            #expect(result?.value == [100, 101, 102, 103, 100, 101, 102, 103], "node \(node)")
        }
    }

    /// A local row changes while the request waits for another node. The request continues with the value that it read.
    @Test func waitingRequestIsNotRepeated() {
        let cluster = VirtualCluster(4, seed: 1, options: ["class": "SimpleStrategy", "replication_factor": "1"])
        let tokens = cluster.ringNodes.map { $0.claims[0].token }
        let keys = tokens.indices.map { Sample.key(token: tokens[$0], UInt8($0), []) }
        for index in keys.indices { cluster.nodes[index].replica.apply(Sample.put(keys[index], Int64(index), at: 5)) }
        // The value in node 0's row selects the row that is read next.
        cluster.nodes[0].replica.apply(Sample.put(keys[0], 1, at: 6))
        cluster.at(300) { cluster.nodes[0].replica.apply(Sample.put(keys[0], 2, at: 7)) }
        let result = cluster.wait(on: 0, .one) { (port) throws(ReplicaError) in
            func value(_ index: Int) throws(ReplicaError) -> Int {
                var value = -1
                try port.get(table: VirtualCluster.table, key: Sample.writer(keys[index])) {
                    value = Int(Sample.value($0) ?? -1)
                }
                return value
            }
            let next = try value(0)
            return [next, try value(next)]
        }
        #expect(result?.value == [1, 1])
    }
}
