import DataModel
import Messages
import Primitives

/// Carries out what a request needs of other nodes.
public protocol StepRunner: AnyObject {
    /// Begins a step.
    /// - Returns: its result when it is there at once; else nil, and `ClusterPort.complete` is called with it later.
    func begin(_ step: Step, for port: ClusterPort) throws(ServerError) -> Outcome?

    /// Has a transaction wait for earlier ones of this node on the partition, but not for long; the port keeps its place (`turn`).
    /// - Returns: whether it need not wait; else `ClusterPort.turnCame` is called later.
    func takeTurn(_ key: PaxosKey, for port: ClusterPort) -> Bool
}

/// One thing a request needs of other nodes.
public enum Step: Sendable {
    case write([UInt8], WriteType)
    case count([UInt8])
    case read(ReadCommand, consistency: Consistency, isByKey: Bool)
    case prepare(PaxosKey, reading: ReadCommand?, deadline: Int64)
    case propose(PaxosKey, Ballot, value: [UInt8], deadline: Int64)

    /// Whether it may be begun once more although a part of it may have been done.
    public var mayBeginAnew: Bool {
        switch self {
        // The same mutations, with the same timestamps.
        case .write, .read, .prepare: true
        case .count, .propose: false
        }
    }
}

/// What a request of a client reads and writes through, when other nodes hold replicas.
///
/// Executing a statement is synchronous, answers of other nodes are not. So a request is run again from its start whenever it has one more:
///
/// 1. A call that needs other nodes begins a step and throws `pending`; the executor gives up what it has.
/// 2. When the step is done, the request is run again. Calls whose steps are done get their results, in order; the first that is not is step 1.
/// 3. A statement is executed the same way each time: it gets the same results, and its time and timestamps are kept here.
///    Only what is read here, at ONE, may have changed meanwhile: answers to reads that are not asked for any more are forgotten.
/// Most requests have one step. What visits many rows waits for its steps instead, where waiting is allowed, and is not run again.
///
/// **Thread safety**: one thread at a time, those of one request.
/// SAFETY: `@unchecked` because the request's threads hand it on through queues.
public final class ClusterPort: ReplicaPort, @unchecked Sendable {
    /// The members as the request sees them; a step that others refused because they know newer ones is begun anew by those.
    public var cluster: ClusterView
    private let local: any ReplicaPort
    private let runner: any StepRunner
    public let consistency: Consistency
    public let serial: Consistency
    private let pageRows: Int
    private let gcGrace: @Sendable (UUID) -> UInt32
    private let contentionTimeout: Int64
    private let nowMicroseconds: @Sendable () -> Int64
    /// Monotonic.
    private let monotonicMicroseconds: @Sendable () -> Int64

    private struct Finished {
        let result: Result<Outcome, ServerError>
        /// What was read; nil for other steps.
        let command: ReadCommand?
    }

    private var finished: [Finished] = []
    private var pendingCommand: ReadCommand?
    private var position = 0
    /// Whether the calling thread may wait for a step; set before each run.
    public var mayWait = false
    /// Told when the pending step is done; set after `pending` was thrown.
    public var whenComplete: (() -> Void)?
    /// The step the request waits for.
    public private(set) var isPending = false
    private var startedSeconds: UInt32 = 0
    /// Until when the request may be executed from its start, monotonic.
    private let startOverLimit: Int64
    private var transaction: (key: PaxosKey, ballot: Ballot, hasProposed: Bool)?
    private var deadline: Int64 = 0
    /// The place of the transaction among those of this node on its partition; left when the request is over.
    public var turn: PartitionTurn?
    private var hasHadTurn = false
    /// While the body of a transaction is run only to learn what it reads first.
    private var isLearning = false
    private var learned: ReadCommand?
    /// What came with the round that is open.
    private var found: (command: ReadCommand, answer: ReadAnswer)?

    /// - Parameters:
    ///   - local: the replica of this process, for what it can answer alone.
    ///   - pageRows: about how many rows the request wants; 0: unknown.
    public init(
        cluster: ClusterView, local: any ReplicaPort, runner: any StepRunner, consistency: Consistency, serial: Consistency, pageRows: Int,
        contentionTimeout: Int64, gcGrace: @escaping @Sendable (UUID) -> UInt32, nowMicroseconds: @escaping @Sendable () -> Int64,
        monotonicMicroseconds: @escaping @Sendable () -> Int64
    ) {
        self.cluster = cluster
        self.local = local
        self.runner = runner
        self.consistency = consistency
        self.serial = serial
        self.pageRows = pageRows
        self.contentionTimeout = contentionTimeout
        self.gcGrace = gcGrace
        self.nowMicroseconds = nowMicroseconds
        self.monotonicMicroseconds = monotonicMicroseconds
        startedSeconds = UInt32(clamping: nowMicroseconds() / 1_000_000)
        startOverLimit = monotonicMicroseconds() + ClusterPort.startOverTime
    }

    deinit { turn?.leave() }

    /// As long as a write may take by default.
    private static let startOverTime: Int64 = 2_000_000

    /// Whether the request has begun no step: it may go by a newer view.
    public var isAtStart: Bool { finished.isEmpty }

    public func startOver() -> Bool {
        guard monotonicMicroseconds() < startOverLimit else { return false }
        rewind()
        finished = []
        return true
    }

    public var isCoordinated: Bool { true }
    public var transactionTimestamp: Int64? { transaction?.ballot.timestamp }

    public var warnings: [String] {
        finished.compactMap { step in
            guard case .success(.sloppy(let standIns)) = step.result else { return nil }
            return
                "Too few replicas are alive for \(consistency.name): \(standIns) other node\(standIns == 1 ? " keeps" : "s keep") the write for "
                + "those that are down (sloppy_quorum). Reads may miss it until they are back."
        }
    }

    /// Begins the request from its start, with the results there are.
    public func rewind() {
        position = 0
        transaction = nil
    }

    /// Takes the result of the step that was pending.
    public func complete(_ result: Result<Outcome, ServerError>) {
        precondition(isPending, "a result nobody waits for")
        isPending = false
        finished.append(Finished(result: result, command: pendingCommand))
        tell()
    }

    /// The transaction waits for its turn no longer: it has come, or has taken too long. More than once does nothing more.
    public func turnCame() {
        if hasHadTurn { return }
        hasHadTurn = true
        tell()
    }

    private func tell() {
        let told = whenComplete
        whenComplete = nil
        told?()
    }

    /// Why the last step failed; nil when it did not.
    public var lastFailure: ServerError? {
        if case .failure(let error) = finished.last?.result { error } else { nil }
    }

    /// The result of the request's next step.
    /// - Parameter command: what the step reads; nil for other steps.
    private func run(_ step: @autoclosure () -> Step, reading command: ReadCommand? = nil) throws(ReplicaError) -> Outcome {
        if position < finished.count, finished[position].command == command {
            defer { position += 1 }
            do throws(ServerError) { return try finished[position].result.get() } catch { throw .server(error) }
        }
        finished.removeSubrange(position...)
        pendingCommand = command
        isPending = true
        let outcome: Outcome?
        do throws(ServerError) { outcome = try runner.begin(step(), for: self) } catch {
            isPending = false
            throw .server(error)
        }
        guard let outcome else { throw .pending }
        isPending = false
        finished.append(Finished(result: .success(outcome), command: command))
        position += 1
        return outcome
    }

    // MARK: Writing

    public func apply(_ mutations: borrowing MutationWriter, type: WriteType, io: IOMode) throws(ReplicaError) {
        if isLearning { throw .pending }
        let bytes = mutations.out.toArray()
        guard transaction != nil else {
            _ = try run(.write(bytes, type))
            return
        }
        try propose(bytes)
    }

    public func applyCounters(_ deltas: borrowing MutationWriter, io: IOMode) throws(ReplicaError) {
        let bytes = deltas.out.toArray()
        _ = try run(.count(bytes))
    }

    // MARK: Transactions

    public func withTransaction(table: UUID, partition: [UInt8], io: IOMode, _ body: () -> Bool) throws(ReplicaError) {
        if deadline == 0 { deadline = monotonicMicroseconds() + contentionTimeout }
        let key = PaxosKey(table: table, partition: partition)
        // No step of the request: executed again, it has had it. Whoever may wait holds a thread, which those before may need.
        if !hasHadTurn, !mayWait, !runner.takeTurn(key, for: self) { throw .pending }
        hasHadTurn = true
        if position >= finished.count { learn(body) }
        guard case .ballot(let ballot, let answer) = try run(.prepare(key, reading: learned, deadline: deadline)) else {
            throw .server(ServerError(.serverError, "a round of Paxos ended without a ballot"))
        }
        transaction = (key, ballot, false)
        if let learned, let answer { found = (learned, answer) }
        defer {
            transaction = nil
            found = nil
        }
        guard body() else { return }
        // A decision not to write is one as well: nothing older may come through after it.
        if transaction?.hasProposed == false { try propose([]) }
    }

    /// Finds out which row a transaction reads first: it is asked for when the round is opened.
    private func learn(_ body: () -> Bool) {
        learned = nil
        isLearning = true
        _ = body()
        isLearning = false
    }

    private func propose(_ value: [UInt8]) throws(ReplicaError) {
        guard let transaction else { return }
        self.transaction?.hasProposed = true
        if case .contended = try run(.propose(transaction.key, transaction.ballot, value: value, deadline: deadline)) {
            // Nothing came of the round: the request begins anew, with a new one.
            finished = []
            guard monotonicMicroseconds() < deadline else {
                throw .server(
                    ServerError(
                        .writeTimeout, "CAS operation timed out: others kept changing the partition; nothing was applied",
                        detail: .writeTimeout(consistency: serial, received: 0, required: 1, writeType: WriteType.cas.rawValue)))
            }
            throw .restart
        }
    }

    // MARK: Reading

    private var isInTransaction: Bool { transaction != nil || isLearning }

    /// The level of a read: inside a transaction a quorum, where the round was opened.
    private var readLevel: Consistency {
        guard isInTransaction else { return consistency }
        return serial == .localSerial ? .localQuorum : .quorum
    }

    private var needsOne: Bool { !isInTransaction && (consistency == .one || consistency == .localOne) }

    public func get(table: UUID, key: borrowing ByteWriter, io: IOMode, _ visit: (RowView) -> Void) throws(ReplicaError) {
        if isSerialRead {
            return try serialRead(table, [UInt8](KeyView(key.bytes).partition)) { () throws(ReplicaError) in
                try read(table, KeyRange(start: key.toArray(), end: key.toArray() + [0]), reversed: false, rows: 1) { _, row in
                    visit(row)
                    return .next
                }
            }
        }
        if needsOne, cluster.ownsLocally(table: table, key: key.bytes) {
            return try local.get(table: table, key: key, io: io, visit)
        }
        let bytes = key.toArray()
        try read(table, KeyRange(start: bytes, end: bytes + [0]), reversed: false, rows: 1) { _, row in
            visit(row)
            return .next
        }
    }

    public func scan(
        table: UUID, range: KeyRange, reversed: Bool, io: IOMode,
        _ visit: (_ key: UnsafeRawBufferPointer, _ row: RowView) -> ScanStep
    ) throws(ReplicaError) {
        if needsOne, isHeldLocally(table, range) {
            return try local.scan(table: table, range: range, reversed: reversed, io: io, visit)
        }
        let rows = pageRows > 0 ? min(pageRows + 1, ReadCommand.largestRowLimit) : 1000
        if isSerialRead {
            let partition = range.start.withUnsafeBytes { [UInt8](KeyView($0).partition) }
            return try serialRead(table, partition) { () throws(ReplicaError) in
                try read(table, range, reversed: reversed, rows: rows, visit)
            }
        }
        try read(table, range, reversed: reversed, rows: rows, visit)
    }

    private func isHeldLocally(_ table: UUID, _ range: KeyRange) -> Bool {
        let stretches = cluster.stretches(table: table, range)
        return !stretches.isEmpty && stretches.allSatisfy { $0.replicas.contains(cluster.local) }
    }

    /// A SELECT at SERIAL.
    private var isSerialRead: Bool { !isInTransaction && (consistency == .serial || consistency == .localSerial) }

    /// Reads inside a round of its own, which is closed without a change: what was accepted before is seen, and nothing older comes after.
    private func serialRead(
        _ table: UUID, _ partition: [UInt8], _ body: () throws(ReplicaError) -> Void
    ) throws(ReplicaError) {
        var failure: ReplicaError?
        do throws(ReplicaError) {
            try withTransaction(table: table, partition: partition, io: .blocking) {
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
            throw .server(error.ofRead)
        }
        if let failure { throw failure }
    }

    private func read(
        _ table: UUID, _ range: KeyRange, reversed: Bool, rows: Int,
        _ visit: (_ key: UnsafeRawBufferPointer, _ row: RowView) -> ScanStep
    ) throws(ReplicaError) {
        let grace = gcGrace(table)
        var command = ReadCommand(
            table: table, range: range, reversed: reversed, rowLimit: max(1, rows),
            gcBefore: startedSeconds > grace ? startedSeconds - grace : 0, now: startedSeconds)
        let isByKey = range.start.withUnsafeBytes { start in
            range.end.withUnsafeBytes { end in
                start.count >= 8 && end.count >= 8 && KeyView(start).token == KeyView(end).token
            }
        }
        if isLearning {
            // More than a row would come from each of the replicas.
            learned = command.isOneKey ? command : nil
            throw .pending
        }
        if let found, found.command == command {
            _ = try ClusterPort.visit(found.answer, reversed: reversed, visit)
            return
        }
        while !command.range.isEmpty {
            let step = Step.read(command, consistency: readLevel, isByKey: isByKey)
            guard case .read(let answers) = try run(step, reading: command) else {
                throw .server(ServerError(.serverError, "a read ended without an answer"))
            }
            for answer in answers where try ClusterPort.visit(answer, reversed: reversed, visit) == .stop { return }
            guard let coveredTo = answers.last?.coveredTo, !PlantedBugs.isOn(.shortReads) else { return }
            if reversed { command.range.end = coveredTo } else { command.range.start = coveredTo }
        }
    }

    /// Visits an answer's rows, in the order of the read.
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
                for (key, row) in backwards.reversed() where visit(key, RowView(row)) == .stop { return .success(.stop) }
                return .success(.next)
            } catch { return .failure(error) }
        }
        do throws(ByteError) { return try outcome.get() } catch { throw .storage("a replica's answer does not parse: \(error)") }
    }
}
