import DataModel
import Messages
import Primitives

/// The operations a request may begin. Each gives the id under which its result comes as `Effect.finished`.
extension Coordinator {
    /// Writes whole encoded mutations, of any number of partitions; a logged batch of more than one by way of the batchlog.
    public func write(
        _ mutations: [UInt8], consistency: Consistency, type: WriteType, cluster: ClusterView, now: Int64
    ) throws(ServerError) -> UInt64 {
        let parts = try split(mutations)
        if type == .batch && parts.count > 1 {
            return begin(
                BatchOperation(
                    self, cluster: cluster, mutations: mutations, parts: parts, consistency: consistency,
                    deadline: now + limits.writeTimeout), now: now)
        }
        return begin(
            WriteOperation(
                self, cluster: cluster, parts: parts, consistency: consistency, type: type, deadline: now + limits.writeTimeout), now: now)
    }

    /// Applies what was written before and is kept somewhere: a logged batch, or hints for a node that is no longer a replica. When it
    /// succeeds, what was kept can be removed.
    /// - Parameters:
    ///   - batch: what is kept, when it is a logged batch.
    ///   - writtenAt: seconds since 1970, for hints this leaves.
    public func replay(
        _ mutations: [UInt8], batch: LoggedBatch? = nil, writtenAt: UInt32, cluster: ClusterView, now: Int64
    ) throws(ServerError) -> UInt64 {
        let parts = try split(mutations)
        return begin(
            ReplayOperation(self, cluster: cluster, parts: parts, batch: batch, writtenAt: writtenAt, deadline: now + limits.writeTimeout),
            now: now)
    }

    /// Sends to the other replicas what this node, leading a counter's update, has written already; its own answer is counted.
    public func replicateCounter(_ mutations: [UInt8], consistency: Consistency, cluster: ClusterView, now: Int64) throws(ServerError)
        -> UInt64
    {
        let parts = try split(mutations)
        return begin(
            WriteOperation(
                self, cluster: cluster, parts: parts, consistency: consistency, type: .counter, deadline: now + limits.counterTimeout),
            now: now)
    }

    public func count(_ deltas: [UInt8], consistency: Consistency, cluster: ClusterView, now: Int64) throws(ServerError)
        -> UInt64
    {
        let parts = try split(deltas)
        let deadline = now + limits.counterTimeout
        return begin(
            AllOperation(
                self, cluster: cluster, deadline: deadline,
                parts.map { CounterOperation(self, cluster: cluster, part: $0, consistency: consistency, deadline: deadline) }), now: now)
    }

    /// Reads a range of keys; `isByKey` when it lies within one partition.
    public func read(_ command: ReadCommand, consistency: Consistency, cluster: ClusterView, isByKey: Bool, now: Int64) -> UInt64 {
        if isByKey, let placement = cluster.placement(of: command.table) {
            let token = command.range.start.withUnsafeBytes { ClusterView.token($0) }
            let replicas = cluster.sorted(placement.table.replicas(for: token), ofOneToken: true)
            return begin(
                ReadOperation(
                    self, cluster: cluster, command: command, replicas: replicas, placement: placement,
                    latencies: latencies(of: command.table, placement), consistency: consistency, deadline: now + limits.readTimeout),
                now: now)
        }
        return begin(
            RangeOperation(
                self, cluster: cluster, command: command, consistency: consistency, deadline: now + limits.rangeTimeout), now: now)
    }

    /// Opens a round of Paxos; gives `Outcome.ballot`.
    /// - Parameters:
    ///   - reading: what the transaction reads first.
    ///   - deadline: of the whole transaction.
    public func prepare(
        _ key: PaxosKey, reading: ReadCommand? = nil, serial: Consistency, cluster: ClusterView, deadline: Int64, now: Int64
    ) throws(ServerError) -> UInt64 {
        begin(
            PrepareOperation(
                self, cluster: cluster, key: key, reading: reading, members: try members(key, serial, cluster), deadline: deadline),
            now: now)
    }

    /// Closes a round; gives `Outcome.done` or `Outcome.contended`.
    public func propose(
        _ key: PaxosKey, ballot: Ballot, value: [UInt8], serial: Consistency, commit: Consistency, cluster: ClusterView, deadline: Int64,
        now: Int64
    ) throws(ServerError) -> UInt64 {
        guard let placement = cluster.placement(of: key.table) else { throw .unknownTable(key.table) }
        return begin(
            ProposeOperation(
                self, cluster: cluster, key: key, ballot: ballot, value: value, members: try members(key, serial, cluster),
                replication: placement.replication, commitLevel: commit, deadline: max(deadline, now + limits.writeTimeout)), now: now)
    }

    private func members(_ key: PaxosKey, _ serial: Consistency, _ cluster: ClusterView) throws(ServerError) -> PaxosMembers {
        let token = key.partition.withUnsafeBytes { ClusterView.token($0) }
        guard let members = PaxosMembers(cluster, table: key.table, token: token, consistency: serial) else {
            throw .unknownTable(key.table)
        }
        return members
    }

    private func split(_ mutations: [UInt8]) throws(ServerError) -> [PartitionedMutations.Part] {
        do throws(ByteError) { return try PartitionedMutations.split(mutations) } catch {
            throw ServerError(.serverError, "mutation bytes do not parse: \(error)")
        }
    }
}
