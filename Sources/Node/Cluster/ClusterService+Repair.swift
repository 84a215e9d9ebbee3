import Cluster
import DataModel
import Messages
import Platform
import Primitives
import Repair
import Storage
import Synchronization

/// What is to be repaired.
struct RepairRequest: Sendable {
    /// All keyspaces of users when nil.
    var keyspace: String?
    var table: String?
    /// The whole ring when nil.
    var tokens: TokenRange?
    /// All replicas of all ranges, not only those of ranges this node holds.
    var isEverywhere = false
    /// Says what would move, and moves nothing.
    var isPreview = false
    /// Begins anew, though an interrupted repair of the same could go on.
    var isFresh = false

    /// Names the job among those that were interrupted.
    var name: String {
        let text = "\(keyspace ?? "*").\(table ?? "*") \(tokens.map { "\($0.after):\($0.through)" } ?? "*") \(isEverywhere)"
        return String(Checksum.xxh3(Array(text.utf8)), radix: 16)
    }
}

extension ClusterService {
    static let repairDirectory = "repairs"

    /// Makes replicas equal, and says what that took; on a background thread, which waits until it is done.
    ///
    /// 1. One keyspace after another, since each has replicas of its own; the tables of one together.
    /// 2. What is done is kept in `repairs/`, so that an interrupted repair goes on where it was, as long as the members are the same.
    func repair(_ request: RepairRequest) throws(ServerError) -> [(keyspace: String, report: RepairReport)] {
        guard let metadata = metadata.current, let schema = queries?.schema else {
            throw ServerError(.isBootstrapping, "this node has not joined its cluster yet")
        }
        if let name = request.keyspace, schema.keyspace(name) == nil { throw .invalid("Keyspace '\(name)' does not exist") }
        if let keyspace = request.keyspace, let table = request.table, schema.table(keyspace, table) == nil {
            throw .invalid("Table '\(keyspace).\(table)' does not exist")
        }
        let ring = metadata.ring
        let began = time.wallSeconds()
        var reports: [(keyspace: String, report: RepairReport)] = []
        for keyspace in schema.sortedKeyspaces
        where !keyspace.isVirtual && !Schema.isSystem(keyspace.name) && request.keyspace ?? keyspace.name == keyspace.name {
            let strategy: ReplicationStrategy
            do throws(PlacementError) {
                strategy = try ReplicationStrategy(options: keyspace.replication, dataCenters: ring.dataCenters)
            } catch { continue }
            if case .local = strategy { continue }
            let placement = ReplicaTable(ring: ring, strategy: strategy)
            let ranges = ClusterService.joined(
                RepairJob.ranges(of: placement, node: request.isEverywhere ? nil : hostID, within: request.tokens))
            let tables = keyspace.sortedTables.filter { request.table ?? $0.name == $0.name }.map { repairTable($0, ring: ring) }
            if tables.isEmpty || ranges.isEmpty { continue }
            let job = RepairJob(tables: tables, ranges: ranges, mode: request.isPreview ? .preview : .full, now: began)
            let file = "\(keyspace.name)-\(request.name)"
            activity.withLock { $0 = "repairing \(keyspace.name)" }
            defer { activity.withLock { $0 = "" } }
            reports.append(
                (
                    keyspace.name,
                    run(job, file: request.isPreview ? nil : file, isFresh: request.isFresh, ringEpoch: self.metadata.ringEpoch)
                ))
        }
        if request.keyspace == nil, request.tokens == nil, !request.isPreview, reports.allSatisfy(\.report.isComplete) {
            for target in hints.store.targets() { hints.store.clearNeedsRepair(target.id, upTo: began) }
        }
        return reports
    }

    /// Neighbours with the same replicas as one range: one tree instead of many.
    private static func joined(_ ranges: [RepairRange]) -> [RepairRange] {
        var joined: [RepairRange] = []
        for range in ranges {
            if let last = joined.last, !last.tokens.wraps, !range.tokens.wraps, last.tokens.through == range.tokens.after,
                last.replicas.sorted() == range.replicas.sorted()
            {
                joined[joined.count - 1].tokens = TokenRange(after: last.tokens.after, through: range.tokens.through)
            } else {
                joined.append(range)
            }
        }
        return joined
    }

    private func repairTable(_ table: TableMetadata, ring: Ring) -> RepairTable {
        let now = time.wallSeconds()
        let grace = UInt32(clamping: table.options.gcGraceSeconds)
        let local = storage.table(table.id)?.tables.reduce(0) { $0 + $1.statistics.partitionCount } ?? 0
        let copies = max(1, min(ring.owningNodes.count, 3))
        return RepairTable(
            id: table.id, gcBefore: now > grace ? now - grace : 0, partitions: max(1, local * ring.owningNodes.count / copies))
    }

    private func run(_ job: RepairJob, file: String?, isFresh: Bool, ringEpoch: UInt64) -> RepairReport {
        let progress = file.flatMap { isFresh ? nil : keptProgress($0, ringEpoch: ringEpoch) } ?? RepairProgress()
        let run = RepairRun(self, RepairSession(job, progress: progress)) { [self] progress in
            if let file { keep(progress, file, ringEpoch: ringEpoch) }
        }
        background.wait { resume in network.onLoop(0) { run.begin(resume) } }
        let report = run.report
        if let file, report.isComplete { forgetProgress(file) }
        return report
    }

    // MARK: Progress

    private func path(_ file: String) -> String { configuration.dataDirectory + "/" + ClusterService.repairDirectory + "/" + file }

    /// `ring epoch(8) progress`, of members that are the same now.
    private func keptProgress(_ file: String, ringEpoch: UInt64) -> RepairProgress? {
        guard system.exists(path(file)) else { return nil }
        do {
            let bytes = try system.readAll(path(file))
            guard bytes.count > 8, bytes.prefix(8).reduce(UInt64(0), { $0 << 8 | UInt64($1) }) == ringEpoch else { return nil }
            let progress = try RepairProgress(Array(bytes.dropFirst(8)))
            log.info("goes on with an interrupted repair")
            return progress
        } catch {
            tell("what an interrupted repair had done cannot be read, it begins anew: \(error)")
            return nil
        }
    }

    private func keep(_ progress: RepairProgress, _ file: String, ringEpoch: UInt64) {
        let directory = configuration.dataDirectory + "/" + ClusterService.repairDirectory
        var out = ByteWriter(capacity: 1024)
        out.writeBE(ringEpoch)
        out.write(progress.encode())
        do throws(FileError) {
            if !system.exists(directory) { try system.createDirectory(directory) }
            try system.replace(path(file), with: out.toArray(), directory: directory)
        } catch { tell("what the repair has done cannot be kept: \(error)") }
    }

    private func forgetProgress(_ file: String) {
        guard system.exists(path(file)) else { return }
        do throws(FileError) { try system.remove(path(file)) } catch { tell("\(error)") }
    }
}

/// Carries out what a repair session wants done; on loop 0.
///
/// SAFETY: `@unchecked Sendable` because everything is touched on loop 0 only, but for `report`, which is read when the run has ended.
private final class RepairRun: @unchecked Sendable {
    private let cluster: ClusterService
    private var session: RepairSession
    private let keep: @Sendable (RepairProgress) -> Void
    private var resume: (@Sendable () -> Void)?
    private var timerAt = Int64.max
    /// When progress was kept last, in monotonic microseconds.
    private var keptAt: Int64 = 0

    var report: RepairReport { session.report }

    init(_ cluster: ClusterService, _ session: RepairSession, keep: @escaping @Sendable (RepairProgress) -> Void) {
        self.cluster = cluster
        self.session = session
        self.keep = keep
    }

    func begin(_ resume: @escaping @Sendable () -> Void) {
        self.resume = resume
        handle(.begin)
    }

    private func handle(_ event: RepairEvent) {
        if session.isFinished { return }
        let effects = session.handle(event, now: cluster.now)
        for effect in effects {
            switch effect {
            case .send(let number, let node, let request, let timeout): send(request, number, to: node, timeout)
            case .progress(let progress):
                guard cluster.now - keptAt > 1_000_000 else { break }
                keptAt = cluster.now
                cluster.background.run(.control) { [keep] in keep(progress) }
            case .finished: end()
            }
        }
        setTimer()
    }

    private func send(_ request: PeerRequest, _ number: UInt64, to node: UUID, _ timeout: Int64) {
        guard let endpoint = cluster.endpoint(of: node) else {
            return answer(number, .failed(.connectionLost, "\(node) is no longer a member"))
        }
        cluster.drivers[0].ask(request, at: endpoint, wanted: node, timeout: timeout) { [self] reply in answer(number, reply) }
    }

    /// In a turn of its own: a reply may be there before the session has given all its effects.
    private func answer(_ number: UInt64, _ reply: PeerReply) {
        cluster.network.onLoop(0) { [self] in handle(.reply(request: number, reply)) }
    }

    private func setTimer() {
        guard !session.isFinished, let next = session.nextDeadline, next < timerAt else { return }
        timerAt = next
        cluster.network.schedule(loop: 0, nanoseconds: UInt64(max(0, next - cluster.now)) * 1000 + 1_000_000) { [self] in
            if timerAt != next { return }
            timerAt = .max
            handle(.tick)
        }
    }

    private func end() {
        let progress = session.progress
        cluster.background.run(.control) { [self] in
            keep(progress)
            let resume = resume
            self.resume = nil
            resume?()
        }
    }
}
