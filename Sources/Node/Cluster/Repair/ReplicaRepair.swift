import Cluster
import DataModel
import Messages
import Platform
import Primitives
import Query
import Repair
import Storage

/// Makes the replicas of ranges equal.
///
/// 1. Keyspaces are repaired one after another, since each has replicas of its own; the tables of one together.
/// 2. Progress is kept on the disk (`RepairProgressFiles`), so that an interrupted repair goes on where it was.
///
/// **Thread safety**: all methods, on background threads, which they block.
struct ReplicaRepair: Sendable {
    let local: LocalNode
    let metadata: MetadataStore
    let queries: QueryEngine
    let storage: StorageEngine
    let hints: HintStore
    let files: RepairProgressFiles
    let activity: NodeActivity
    /// That of loop 0.
    let driver: LoopDriver
    let network: any Network
    let background: any Background
    let time: any TimeSource

    /// Repairs what was asked for; returns when it is done.
    /// - Returns: what was found and sent, for each keyspace.
    func run(_ request: RepairRequest) throws(ServerError) -> [(keyspace: String, report: RepairReport)] {
        guard let metadata = metadata.current else {
            throw ServerError(.isBootstrapping, "this node has not joined its cluster yet")
        }
        let schema = queries.schema
        if let name = request.keyspace, schema.keyspace(name) == nil {
            throw .invalid("Keyspace '\(name)' does not exist")
        }
        if let keyspace = request.keyspace, let table = request.table, schema.table(keyspace, table) == nil {
            throw .invalid("Table '\(keyspace).\(table)' does not exist")
        }
        let began = time.wallSeconds()
        var reports: [(keyspace: String, report: RepairReport)] = []
        for keyspace in schema.userKeyspaces where request.keyspace ?? keyspace.name == keyspace.name {
            guard let job = job(for: keyspace, request, metadata.ring, began: began) else { continue }
            let file = request.isPreview ? nil : "\(keyspace.name)-\(request.name)"
            activity.begin("repairing \(keyspace.name)")
            defer { activity.end() }
            let report = run(
                job, file: file, isFresh: request.isFresh, ringEpoch: self.metadata.ringEpoch)
            reports.append((keyspace.name, report))
        }
        if request.keyspace == nil, request.tokens == nil, !request.isPreview,
            reports.allSatisfy(\.report.isComplete)
        {
            for target in hints.targets() { hints.clearNeedsRepair(target.id, upTo: began) }
        }
        return reports
    }

    /// - Returns: nil when nothing of the keyspace is to be repaired.
    private func job(
        for keyspace: KeyspaceMetadata, _ request: RepairRequest, _ ring: Ring, began: UInt32
    ) -> RepairJob? {
        let strategy: ReplicationStrategy
        do throws(PlacementError) {
            strategy = try ReplicationStrategy(options: keyspace.replication, dataCenters: ring.dataCenters)
        } catch { return nil }
        if case .local = strategy { return nil }
        let placement = ReplicaTable(ring: ring, strategy: strategy)
        let ranges = ReplicaRepair.joined(
            RepairJob.ranges(
                of: placement, node: request.isEverywhere ? nil : local.hostID, within: request.tokens))
        let tables = keyspace.sortedTables.filter { request.table ?? $0.name == $0.name }
            .map { repairTable($0, ring: ring) }
        if tables.isEmpty || ranges.isEmpty { return nil }
        return RepairJob(tables: tables, ranges: ranges, mode: request.isPreview ? .preview : .full, now: began)
    }

    /// Joins neighbouring ranges with the same replicas: one tree instead of many.
    private static func joined(_ ranges: [RepairRange]) -> [RepairRange] {
        var joined: [RepairRange] = []
        for range in ranges {
            if let last = joined.last, !last.tokens.wraps, !range.tokens.wraps,
                last.tokens.through == range.tokens.after, last.replicas.sorted() == range.replicas.sorted()
            {
                joined[joined.count - 1].tokens = TokenRange(
                    after: last.tokens.after, through: range.tokens.through)
            } else {
                joined.append(range)
            }
        }
        return joined
    }

    private func repairTable(_ table: TableMetadata, ring: Ring) -> RepairTable {
        let now = time.wallSeconds()
        let grace = UInt32(clamping: table.options.gcGraceSeconds)
        let sstables = storage.table(table.id)?.tables
        // Files may state any number.
        let partitions = min(1 << 40, sstables?.reduce(0) { $0 + $1.statistics.partitionCount } ?? 0)
        let copies = max(1, min(ring.owningNodes.count, 3))
        return RepairTable(
            id: table.id, gcBefore: now > grace ? now - grace : 0,
            partitions: max(1, partitions * ring.owningNodes.count / copies))
    }

    /// - Parameter file: where progress is kept; nil: nowhere.
    private func run(_ job: RepairJob, file: String?, isFresh: Bool, ringEpoch: UInt64) -> RepairReport {
        let progress = file.flatMap { isFresh ? nil : files.read($0, ringEpoch: ringEpoch) } ?? RepairProgress()
        let run = RepairRun(
            RepairSession(job, progress: progress), metadata: metadata, driver: driver, network: network,
            background: background, time: time
        ) { [files] progress in
            if let file { files.write(progress, file, ringEpoch: ringEpoch) }
        }
        network.onLoop(0) { run.begin() }
        let report = run.report.wait(on: background)
        if let file, report.isComplete { files.remove(file) }
        return report
    }
}
