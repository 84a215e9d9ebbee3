import Cluster
import DataModel
import Primitives

/// The properties of a table that a coordinator needs, from the schema.
public struct TableRules: Sendable {
    public var keyspace: String
    public var speculativeRetry: SpeculativeRetry
    /// Whether a read repairs the replicas that returned old data before it is answered. This makes reads at QUORUM
    /// monotonic.
    public var repairsReads: Bool
    /// Whether other nodes may store hints for dead replicas and count as their answers (sloppy quorum).
    public var isSloppy: Bool

    public init(
        keyspace: String, speculativeRetry: SpeculativeRetry = .percentile(99), repairsReads: Bool = true,
        isSloppy: Bool = false
    ) {
        self.keyspace = keyspace
        self.speculativeRetry = speculativeRetry
        self.repairsReads = repairsReads
        self.isSloppy = isSloppy
    }
}

/// The replicas of a table and the rules for reading it.
public final class TablePlacement: Sendable {
    public let replication: Replication
    public let table: ReplicaTable
    public let rules: TableRules

    init(replication: Replication, table: ReplicaTable, rules: TableRules) {
        self.replication = replication
        self.table = table
        self.rules = rules
    }
}

/// The cluster as a request sees it: members, token ownership, liveness. Immutable; every change creates a new view.
///
/// A node is identified by its index in `ring.nodes`. The index is valid only for this view.
public final class ClusterView: Sendable {
    public let ring: Ring
    /// This node's index.
    public let local: Int
    public let isAlive: [Bool]
    /// By index: whether the node is in this node's data center.
    public let isNear: [Bool]
    /// The order in which replicas are asked, as of this view.
    public let order: ReplicaOrder
    /// The epoch of the cluster metadata that this view shows.
    public let epoch: UInt64
    private let placements: [UUID: TablePlacement]

    /// - Parameters:
    ///   - local: this node's host id; the ring must contain it.
    ///   - isAlive: by index; always true for this node.
    ///   - distance: by index; nodes with a greater distance are asked later.
    ///   - keyspaces: the replication options of each keyspace, as the schema stores them.
    ///   - tables: all tables.
    ///   - former: the ring before the last change, while not all nodes know the change.
    public init(
        ring: Ring, local: UUID, isAlive: [Bool], distance: [Int], keyspaces: [String: [String: String]],
        tables: [UUID: TableRules],
        epoch: UInt64 = 0, former: Ring? = nil
    ) {
        guard let index = ring.index(of: local) else { preconditionFailure("this node is not in its own ring") }
        self.ring = ring
        self.local = index
        self.isAlive = isAlive
        let here = ring.nodes[index].location.dataCenter
        isNear = ring.nodes.map { $0.location.dataCenter == here }
        order = ReplicaOrder(distance: distance, isNear: isNear)
        var owners: [String: (replication: Replication, table: ReplicaTable)] = [:]
        for (name, options) in keyspaces {
            let strategy: ReplicationStrategy
            do throws(PlacementError) {
                strategy = try ReplicationStrategy(options: options, dataCenters: ring.dataCenters)
            } catch { strategy = .simple(factor: 1) }  // the planner rejects such options before they are stored
            owners[name] = (
                Replication(options: options, dataCenter: here, dataCenters: ring.dataCenters),
                ReplicaTable(ring: ring, strategy: strategy, local: local, former: former)
            )
        }
        var placements: [UUID: TablePlacement] = [:]
        for (id, rules) in tables {
            guard let (replication, table) = owners[rules.keyspace] else { continue }
            placements[id] = TablePlacement(replication: replication, table: table, rules: rules)
        }
        self.placements = placements
        self.epoch = epoch
    }

    private init(_ other: ClusterView, isAlive: [Bool], order: ReplicaOrder) {
        ring = other.ring
        local = other.local
        self.isAlive = isAlive
        isNear = other.isNear
        self.order = order
        placements = other.placements
        epoch = other.epoch
    }

    /// Returns a view with the same members and tables, but other liveness and latency scores.
    /// - Parameter scores: by index, as in `ReplicaOrder`.
    public func with(isAlive: [Bool], scores: [Double], badnessThreshold: Double) -> ClusterView {
        ClusterView(self, isAlive: isAlive, order: order.with(scores: scores, badnessThreshold: badnessThreshold))
    }

    /// Returns a view that shows the same. Loops have views of their own: the reference count of one that they shared
    /// would be written by all of them, many times a request.
    public func copy() -> ClusterView { ClusterView(self, isAlive: isAlive, order: order) }

    public func placement(of table: UUID) -> TablePlacement? { placements[table] }

    /// Whether this node is the only one.
    public var isSingle: Bool { ring.nodes.count == 1 }

    /// The token of an engine key.
    static func token(_ key: UnsafeRawBufferPointer) -> Int64 { KeyView(key).token }

    /// Whether this node is a natural replica of a key.
    public func ownsLocally(table: UUID, key: UnsafeRawBufferPointer) -> Bool {
        guard let placement = placement(of: table) else { return false }
        return placement.table.replicas(for: ClusterView.token(key)).contains(Int32(local))
    }

    /// Appends the live natural replicas of a token to an empty array, in the order in which they are asked. Equally
    /// good replicas keep the ring's order, the primary first, so that each node is asked for its own share.
    func appendLive(of token: Int64, _ table: ReplicaTable, to nodes: inout [Int]) {
        for place in table.places(for: token).natural where isAlive[table.node(at: place)] {
            nodes.append(table.node(at: place))
        }
        order.sort(&nodes)
    }

    /// Returns the live natural replicas of a token, as `appendLive`.
    func live(of token: Int64, _ table: ReplicaTable) -> [Int] {
        var nodes: [Int] = []
        appendLive(of: token, table, to: &nodes)
        return nodes
    }

    /// Returns the live natural replicas of a token's range. Equally good replicas are in one order of all nodes, so
    /// that equal replica sets of different ranges compare equal.
    private func liveOfRange(_ token: Int64, _ table: ReplicaTable) -> [Int] {
        // Each coordinator starts with its neighbor, so that the coordinators together spread their reads.
        let count = ring.nodes.count
        var nodes = table.replicas(for: token).map { Int($0) }.filter { isAlive[$0] }
        nodes.sort { ($0 - local + count) % count < ($1 - local + count) % count }
        order.sort(&nodes)
        return nodes
    }

    func dataCenter(_ node: Int) -> String { ring.nodes[node].location.dataCenter }

    /// Splits a range into stretches with the same live replicas, in order.
    func stretches(table: UUID, _ range: KeyRange) -> [(range: KeyRange, replicas: [Int])] {
        guard let placement = placement(of: table) else { return [] }
        let first = range.start.withUnsafeBytes { $0.count >= 8 ? ClusterView.token($0) : .min }
        let last = range.end.withUnsafeBytes { $0.count >= 8 ? ClusterView.token($0) : .max }
        if first == last { return [(range, live(of: first, placement.table))] }
        var result: [(range: KeyRange, replicas: [Int])] = []
        // The ring's first range wraps around: it also contains the tokens above the last boundary.
        var position = range.start
        for index in 0...placement.table.rangeCount {
            let isLast = index == placement.table.rangeCount
            let through = isLast ? Int64.max : placement.table.range(at: index).through
            if through < first { continue }
            let replicas = liveOfRange(isLast ? .max : through, placement.table)
            let stop = isLast ? KeyRange.all.end : KeyRange.tokens(after: .min, through: through).end
            let end = compareBytes(range.end, stop) < 0 ? range.end : stop
            guard compareBytes(position, end) < 0 else { continue }
            if let previous = result.last, previous.replicas == replicas {
                result[result.count - 1].range.end = end
            } else {
                result.append((KeyRange(start: position, end: end), replicas))
            }
            position = end
            if compareBytes(range.end, stop) <= 0 { break }
        }
        return result
    }
}
