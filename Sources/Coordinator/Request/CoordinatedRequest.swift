import DataModel
import Messages
import Primitives

/// The port of a client's request when other nodes hold replicas. Each call waits on the request's fiber until as many
/// replicas have answered as the consistency level needs.
///
/// **Thread safety**: only the request's fiber.
/// SAFETY: `@unchecked Sendable` for that reason.
public final class CoordinatedRequest: ReplicaPort, @unchecked Sendable {
    /// The request's view of the cluster. A step that is started again uses a newer one.
    public var cluster: ClusterView
    private let local: any ReplicaPort
    private let runner: any StepRunner
    public private(set) var consistency: Consistency
    public private(set) var serial: Consistency
    private var pageRows: Int
    private let gcGrace: @Sendable (UUID) -> UInt32
    private let contentionTimeout: Int64
    private var startedSeconds: UInt32
    public private(set) var warnings: [String] = []
    /// The step that the request waits for.
    private var step: StartedStep?

    /// An open round of Paxos.
    private struct Round {
        let ballot: Ballot
        /// The read that came with the promises, if a quorum of the replicas agreed.
        let read: (command: ReadCommand, answer: ReadAnswer)?
        var proposal: [UInt8]?
    }

    private var round: Round?
    /// Reads started ahead of their use, by the start of their ranges.
    private var begun: [[UInt8]: (command: ReadCommand, step: StartedStep)] = [:]

    /// - Parameters:
    ///   - local: the replica of this process, for reads that it can answer alone.
    ///   - pageRows: about how many rows the request wants; 0: unknown.
    ///   - contentionTimeout: microseconds after which a transaction that keeps losing its rounds gives up.
    ///   - nowSeconds: the current time for TTL checks, in seconds since 1970.
    public init(
        cluster: ClusterView, local: any ReplicaPort, runner: any StepRunner, consistency: Consistency,
        serial: Consistency, pageRows: Int,
        contentionTimeout: Int64, gcGrace: @escaping @Sendable (UUID) -> UInt32, nowSeconds: UInt32
    ) {
        self.cluster = cluster
        self.local = local
        self.runner = runner
        self.consistency = consistency
        self.serial = serial
        self.pageRows = pageRows
        self.contentionTimeout = contentionTimeout
        self.gcGrace = gcGrace
        startedSeconds = nowSeconds
    }

    /// Makes the port of a request that has ended that of the next one.
    public func reuse(
        cluster: ClusterView, consistency: Consistency, serial: Consistency, pageRows: Int, nowSeconds: UInt32
    ) {
        precondition(round == nil, "the request has not ended")
        self.cluster = cluster
        self.consistency = consistency
        self.serial = serial
        self.pageRows = pageRows
        startedSeconds = nowSeconds
        if !warnings.isEmpty { warnings = [] }
        if !begun.isEmpty { begun = [:] }
    }

    public var isCoordinated: Bool { true }
    public var transactionTimestamp: Int64? { round?.ballot.timestamp }

    public func refresh() {
        if let view = runner.view, view.epoch >= cluster.epoch { cluster = view }
        begun = [:]
    }

    private func run(_ step: Step) throws(ReplicaError) -> Outcome {
        let started: StartedStep
        if let kept = self.step {
            kept.reuse(for: step, began: runner.now)
            started = kept
        } else {
            started = StartedStep(step, began: runner.now)
            self.step = started
        }
        do throws(ServerError) {
            runner.start(started, for: self)
            return try runner.finish(started, for: self)
        } catch { throw .server(error) }
    }

    // MARK: Writing

    public func apply(_ mutations: borrowing MutationWriter, type: WriteType) throws(ReplicaError) {
        let bytes = mutations.out.toArray()
        if round != nil {
            round?.proposal = bytes
            return
        }
        if case .sloppy(let fallbacks) = try run(.write(bytes, type)) {
            warnings.append(
                "Too few replicas are alive for \(consistency.name): \(fallbacks) other node\(fallbacks == 1 ? " keeps" : "s keep") the write "
                    + "for those that are down (sloppy_quorum). Reads may miss it until they are back.")
        }
    }

    public func applyCounters(_ deltas: borrowing MutationWriter) throws(ReplicaError) {
        _ = try run(.count(deltas.out.toArray()))
    }

    // MARK: Transactions

    /// 1. Waits for earlier transactions of this node on the partition (`takeTurn`).
    /// 2. Opens a round: a quorum promises the ballot and reports earlier accepted proposals.
    /// 3. Runs `body`, which reads and may leave a proposal.
    /// 4. Proposes it. If another ballot came between and nothing was accepted, pauses and returns to step 2.
    public func withTransaction(table: UUID, partition: [UInt8], reading: [UInt8]?, _ body: () -> Bool)
        throws(ReplicaError)
    {
        let deadline = runner.now + contentionTimeout
        let key = PaxosKey(table: table, partition: partition)
        let turn = runner.takeTurn(key)
        defer { turn.leave() }
        let command = reading.map { self.command(table, KeyRange(start: $0, end: $0 + [0]), reversed: false, rows: 1) }
        var attempts = 0
        while true {
            guard case .ballot(let ballot, let answer) = try run(.prepare(key, reading: command, deadline: deadline))
            else {
                throw .server(ServerError(.serverError, "a round of Paxos ended without a ballot"))
            }
            var read: (command: ReadCommand, answer: ReadAnswer)?
            if let command, let answer { read = (command, answer) }
            round = Round(ballot: ballot, read: read)
            defer { round = nil }
            guard body() else { return }
            // Also close the round when `body` wrote nothing: no older proposal may succeed after that decision.
            guard case .contended = try run(.propose(key, ballot, value: round?.proposal ?? [], deadline: deadline))
            else { return }
            guard runner.now < deadline else {
                throw .server(
                    ServerError(
                        .writeTimeout,
                        "CAS operation timed out: others kept changing the partition; nothing was applied",
                        detail: .writeTimeout(
                            consistency: serial, received: 0, required: 1, writeType: WriteType.cas.rawValue)))
            }
            attempts += 1
            runner.rest(attempt: attempts)
        }
    }

    // MARK: Reading

    /// The consistency level of a read. Inside a transaction it is a quorum of the replicas that the round was opened
    /// with.
    private var readLevel: Consistency {
        guard round != nil else { return consistency }
        return serial == .localSerial ? .localQuorum : .quorum
    }

    private var needsOne: Bool { round == nil && (consistency == .one || consistency == .localOne) }

    /// Whether this is a SELECT at SERIAL or LOCAL_SERIAL.
    private var isSerialRead: Bool { round == nil && (consistency == .serial || consistency == .localSerial) }

    public func get(table: UUID, key: borrowing ByteWriter, _ visit: (RowView) -> Void) throws(ReplicaError) {
        if needsOne, cluster.ownsLocally(table: table, key: key.bytes) {
            return try local.get(table: table, key: key, visit)
        }
        let bytes = key.toArray()
        let range = KeyRange(start: bytes, end: bytes + [0])
        guard isSerialRead else {
            return try read(table, range, reversed: false, rows: 1) { _, row in
                visit(row)
                return .next
            }
        }
        try serialRead(table, [UInt8](KeyView(key.bytes).partition), reading: bytes) { () throws(ReplicaError) in
            try read(table, range, reversed: false, rows: 1) { _, row in
                visit(row)
                return .next
            }
        }
    }

    public func scan(
        table: UUID, range: KeyRange, reversed: Bool,
        _ visit: (_ key: UnsafeRawBufferPointer, _ row: RowView) -> ScanStep
    ) throws(ReplicaError) {
        if needsOne, isHeldLocally(table, range) {
            return try local.scan(table: table, range: range, reversed: reversed, visit)
        }
        guard isSerialRead else { return try read(table, range, reversed: reversed, rows: rowsAtOnce, visit) }
        let partition = range.start.withUnsafeBytes { [UInt8](KeyView($0).partition) }
        try serialRead(table, partition, reading: nil) { () throws(ReplicaError) in
            try read(table, range, reversed: reversed, rows: rowsAtOnce, visit)
        }
    }

    private var rowsAtOnce: Int { pageRows > 0 ? min(pageRows + 1, ReadCommand.largestRowLimit) : 1000 }

    private func isHeldLocally(_ table: UUID, _ range: KeyRange) -> Bool {
        let stretches = cluster.stretches(table: table, range)
        return !stretches.isEmpty && stretches.allSatisfy { $0.replicas.contains(cluster.local) }
    }

    /// Reads inside its own Paxos round, which is then closed without a change. The read sees every earlier accepted
    /// proposal, and no older proposal can succeed after it.
    private func serialRead(
        _ table: UUID, _ partition: [UInt8], reading: [UInt8]?, _ body: () throws(ReplicaError) -> Void
    ) throws(ReplicaError) {
        var failure: ReplicaError?
        do throws(ReplicaError) {
            try withTransaction(table: table, partition: partition, reading: reading) {
                failure = nil
                do throws(ReplicaError) {
                    try body()
                    return true
                } catch {
                    failure = error
                    return false
                }
            }
        } catch {
            guard case .server(let error) = error else { throw error }
            throw .server(error.asReadError)
        }
        if let failure { throw failure }
    }

    private func command(_ table: UUID, _ range: KeyRange, reversed: Bool, rows: Int) -> ReadCommand {
        let grace = gcGrace(table)
        return ReadCommand(
            table: table, range: range, reversed: reversed, rowLimit: max(1, rows),
            gcBefore: startedSeconds > grace ? startedSeconds - grace : 0, now: startedSeconds)
    }

    /// Starts the reads of several partitions together, so that they share a round trip.
    public func willRead(table: UUID, ranges: [KeyRange], reversed: Bool) {
        guard round == nil, !isSerialRead, ranges.count > 1 else { return }
        for range in ranges {
            if needsOne, range.start.withUnsafeBytes({ cluster.ownsLocally(table: table, key: $0) }) { continue }
            var command = command(table, range, reversed: reversed, rows: rowsAtOnce)
            if command.isOneKey { command.rowLimit = 1 }
            command.byteLimit = CoordinatedRequest.byteLimitAhead
            let started = StartedStep(
                .read(command, consistency: readLevel, isByKey: true), began: runner.now)
            runner.start(started, for: self)
            begun[range.start] = (command, started)
        }
    }

    /// The byte limit of a read that is started ahead; the rest is read on demand.
    private static let byteLimitAhead = 64 << 10

    private func read(
        _ table: UUID, _ range: KeyRange, reversed: Bool, rows: Int,
        _ visit: (_ key: UnsafeRawBufferPointer, _ row: RowView) -> ScanStep
    ) throws(ReplicaError) {
        var command = command(table, range, reversed: reversed, rows: rows)
        if let read = round?.read, read.command == command {
            _ = try CoordinatedRequest.visit(read.answer, reversed: reversed, visit)
            return
        }
        let isByKey = range.start.withUnsafeBytes { start in
            range.end.withUnsafeBytes { end in
                start.count >= 8 && end.count >= 8 && KeyView(start).token == KeyView(end).token
            }
        }
        while !command.range.isEmpty {
            let outcome: Outcome
            if !begun.isEmpty, let ahead = begun.removeValue(forKey: command.range.start),
                ahead.command.range == command.range
            {
                do throws(ServerError) { outcome = try runner.finish(ahead.step, for: self) } catch {
                    throw .server(error)
                }
            } else {
                outcome = try run(.read(command, consistency: readLevel, isByKey: isByKey))
            }
            var coveredTo: [UInt8]?
            switch outcome {
            case .stretch(let answer):
                if try CoordinatedRequest.visit(answer, reversed: reversed, visit) == .stop { return }
                coveredTo = answer.coveredTo
            case .read(let answers):
                for answer in answers where try CoordinatedRequest.visit(answer, reversed: reversed, visit) == .stop {
                    return
                }
                coveredTo = answers.last?.coveredTo
            default: throw .server(ServerError(.serverError, "a read ended without an answer"))
            }
            guard let coveredTo, !PlantedBugs.isOn(.shortReads) else { return }
            if reversed { command.range.end = coveredTo } else { command.range.start = coveredTo }
        }
    }

    /// Visits an answer's rows in read order.
    private static func visit(
        _ answer: ReadAnswer, reversed: Bool, _ visit: (_ key: UnsafeRawBufferPointer, _ row: RowView) -> ScanStep
    ) throws(ReplicaError) -> ScanStep {
        let outcome: Result<ScanStep, ByteError> = answer.operations.withUnsafeBytes { bytes in
            var reader = ByteReader(bytes)
            do throws(ByteError) {
                var backwards: [(UnsafeRawBufferPointer, UnsafeRawBufferPointer)] = []
                while let operation = try MutationReader.operation(from: &reader) {
                    guard case .row(let key, let row) = operation else { break }
                    if reversed {
                        backwards.append((key, row))
                    } else if visit(key, RowView(row)) == .stop {
                        return .success(.stop)
                    }
                }
                for (key, row) in backwards.reversed() where visit(key, RowView(row)) == .stop {
                    return .success(.stop)
                }
                return .success(.next)
            } catch { return .failure(error) }
        }
        do throws(ByteError) { return try outcome.get() } catch {
            throw .storage("a replica's answer does not parse: \(error)")
        }
    }
}
