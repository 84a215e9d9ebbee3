import DataModel
import Messages
import Primitives

/// The operations that a request may begin. Each returns the id under which its result arrives as `Effect.finished`.
extension Coordinator {
    /// Writes whole encoded mutations of any number of partitions. A logged batch of several partitions goes through
    /// the batchlog.
    public func write(
        _ mutations: [UInt8], consistency: Consistency, type: WriteType, cluster: ClusterView, now: Int64
    ) throws(ServerError) -> UInt64 {
        if let part = try onlyPart(of: mutations) {
            return begin(
                writeOperation(part, cluster, consistency, type, deadline: now + limits.writeTimeout), now: now)
        }
        let parts = try split(mutations)
        if type == .batch && parts.count > 1 {
            return begin(
                BatchOperation(
                    self, cluster: cluster, mutations: mutations, parts: parts, consistency: consistency,
                    deadline: now + limits.writeTimeout), now: now)
        }
        return begin(
            WriteOperation(
                self, cluster: cluster, parts: parts, consistency: consistency, type: type,
                deadline: now + limits.writeTimeout), now: now)
    }

    /// Replays an earlier write that is still stored: a logged batch, or hints for a node that is no longer a replica.
    /// After success the stored copy can be removed.
    /// - Parameters:
    ///   - batch: the stored batch; nil for hints.
    ///   - writtenAt: seconds since 1970, for new hints that the replay leaves.
    public func replay(
        _ mutations: [UInt8], batch: LoggedBatch? = nil, writtenAt: UInt32, cluster: ClusterView, now: Int64
    ) throws(ServerError) -> UInt64 {
        let parts = try split(mutations)
        return begin(
            ReplayOperation(
                self, cluster: cluster, parts: parts, batch: batch, writtenAt: writtenAt,
                deadline: now + limits.writeTimeout),
            now: now)
    }

    /// Sends the leader's new counter shards to the other replicas. The leader is this node and has written them
    /// already; its own answer counts.
    public func replicateCounter(_ mutations: [UInt8], consistency: Consistency, cluster: ClusterView, now: Int64)
        throws(ServerError)
        -> UInt64
    {
        let parts = try split(mutations)
        return begin(
            WriteOperation(
                self, cluster: cluster, parts: parts, consistency: consistency, type: .counter,
                deadline: now + limits.counterTimeout),
            now: now)
    }

    public func count(_ deltas: [UInt8], consistency: Consistency, cluster: ClusterView, now: Int64) throws(ServerError)
        -> UInt64
    {
        let parts = try split(deltas)
        let deadline = now + limits.counterTimeout
        return begin(
            CombinedOperation(
                self, cluster: cluster, deadline: deadline,
                parts.map {
                    CounterOperation(self, cluster: cluster, part: $0, consistency: consistency, deadline: deadline)
                }), now: now)
    }

    /// Reads a range of keys.
    /// - Parameter isByKey: whether the range lies within one partition.
    public func read(_ command: ReadCommand, consistency: Consistency, cluster: ClusterView, isByKey: Bool, now: Int64)
        -> UInt64
    {
        if isByKey, let placement = cluster.placement(of: command.table) {
            return begin(readOperation(command, placement, cluster, consistency, now + limits.readTimeout), now: now)
        }
        return begin(
            RangeOperation(
                self, cluster: cluster, command: command, consistency: consistency,
                deadline: now + limits.rangeTimeout),
            now: now)
    }

    /// Returns an operation that reads by key: one that has ended, if there is one.
    private func readOperation(
        _ command: ReadCommand, _ placement: TablePlacement, _ cluster: ClusterView, _ consistency: Consistency,
        _ deadline: Int64
    ) -> ReadOperation {
        let token = command.range.start.withUnsafeBytes { ClusterView.token($0) }
        let latencies = latencies(of: command.table, placement)
        guard let spare = takeSpareRead() else {
            return ReadOperation(
                self, cluster: cluster, command: command, replicas: cluster.live(of: token, placement.table),
                placement: placement,
                latencies: latencies, consistency: consistency, deadline: deadline)
        }
        spare.reuse(
            cluster: cluster, command: command, token: token, placement: placement, latencies: latencies,
            consistency: consistency, deadline: deadline)
        return spare
    }

    /// Opens a round of Paxos; the result is `Outcome.ballot`.
    /// - Parameters:
    ///   - reading: the first read of the transaction.
    ///   - deadline: the deadline of the whole transaction.
    public func prepare(
        _ key: PaxosKey, reading: ReadCommand? = nil, serial: Consistency, cluster: ClusterView, deadline: Int64,
        now: Int64
    ) throws(ServerError) -> UInt64 {
        begin(
            PrepareOperation(
                self, cluster: cluster, key: key, reading: reading, members: try members(key, serial, cluster),
                deadline: deadline),
            now: now)
    }

    /// Closes a round; the result is `Outcome.done` or `Outcome.contended`.
    public func propose(
        _ key: PaxosKey, ballot: Ballot, value: [UInt8], serial: Consistency, commit: Consistency, cluster: ClusterView,
        deadline: Int64,
        now: Int64
    ) throws(ServerError) -> UInt64 {
        guard let placement = cluster.placement(of: key.table) else { throw .unknownTable(key.table) }
        return begin(
            ProposeOperation(
                self, cluster: cluster, key: key, ballot: ballot, value: value,
                members: try members(key, serial, cluster),
                replication: placement.replication, commitLevel: commit,
                deadline: max(deadline, now + limits.writeTimeout)), now: now)
    }

    private func members(_ key: PaxosKey, _ serial: Consistency, _ cluster: ClusterView) throws(ServerError)
        -> PaxosMembers
    {
        let token = key.partition.withUnsafeBytes { ClusterView.token($0) }
        guard let members = PaxosMembers(cluster, table: key.table, token: token, consistency: serial) else {
            throw .unknownTable(key.table)
        }
        return members
    }

    /// Returns an operation that writes one partition: one that has ended, if there is one.
    private func writeOperation(
        _ part: PartitionedMutations.Part, _ cluster: ClusterView, _ consistency: Consistency, _ type: WriteType,
        deadline: Int64
    ) -> WriteOperation {
        guard let spare = takeSpareWrite() else {
            return WriteOperation(
                self, cluster: cluster, parts: [part], consistency: consistency, type: type, deadline: deadline)
        }
        spare.reuse(for: part, cluster: cluster, consistency: consistency, type: type, deadline: deadline)
        return spare
    }

    private func onlyPart(of mutations: [UInt8]) throws(ServerError) -> PartitionedMutations.Part? {
        do throws(ByteError) { return try PartitionedMutations.onlyPart(of: mutations) } catch {
            throw ServerError(.serverError, "mutation bytes do not parse: \(error)")
        }
    }

    private func split(_ mutations: [UInt8]) throws(ServerError) -> [PartitionedMutations.Part] {
        do throws(ByteError) { return try PartitionedMutations.split(mutations) } catch {
            throw ServerError(.serverError, "mutation bytes do not parse: \(error)")
        }
    }
}
