import Cluster
import DataModel
import Messages
import Primitives

/// Makes replicas consistent. A state machine without network, disk or clock.
///
/// 1. The job's tables and ranges are split into pieces of work; those finished according to `RepairProgress` are left
///    out. Up to `rangesInFlight` pieces are under way at once, in order, except that pieces whose replicas are busy
///    with trees wait.
/// 2. For each piece all replicas are asked for their trees at the same time. If all leaves are equal, the piece is
///    done.
/// 3. Slices in which any two trees differ are read page by page, from one replica of each group whose trees agree
///    there. Each page is reconciled over the keys that all answers cover, and the data a group lacks is sent to all
///    its replicas. When they have acknowledged it, the next page follows.
/// 4. A request that fails or times out is sent again after a pause; after `attempts` its piece fails with a reason,
///    and the other pieces continue. A piece with a replica that is down fails too. All requests are idempotent.
/// 5. A preview does the same without sending writes; it counts what would be sent.
///
/// The same events at the same times give the same effects. Times are monotonic microseconds.
public struct RepairSession: Sendable {
    /// A piece of work that has not begun.
    struct Piece: Sendable {
        /// Index in `job.tables`.
        var table: Int
        /// Index in `job.ranges`.
        var range: Int
        var tokens: TokenSlice
    }

    /// A piece of work under way.
    struct Work: Sendable {
        let piece: Piece
        let replicas: [UUID]
        /// The trees by replica; nil until received. While one is missing, the piece waits for trees.
        var trees: [MerkleTree?]
        /// Differing slices that are not finished; the first one is being read.
        var stretches: ArraySlice<TreeDifference> = []
        /// The keys of the first slice that are not read yet.
        var keys = KeyRange(start: [], end: [])
        /// The answers of the current page, by group of the first slice.
        var answers: [ReadAnswer?] = []
        /// Writes sent and not acknowledged.
        var writesLeft = 0
        /// The data sent for the first slice.
        var volume = RepairVolume()
        var awaitsTrees = true
    }

    /// A request that waits for its reply, or for being sent again.
    struct Request: Sendable {
        let work: Int
        /// Index in the replicas of the work.
        let replica: Int
        let message: PeerRequest
        /// The size of a write.
        let volume: RepairVolume
        var attempt: Int
        /// When the request times out; while it is resting, when it is sent again.
        var deadline: Int64
        var isResting = false
    }

    public let job: RepairJob
    public let options: RepairOptions
    /// All finished work, including that of earlier runs.
    public private(set) var progress: RepairProgress
    public internal(set) var report: RepairReport
    private var queue: ArraySlice<Piece> = []
    var works: [Int: Work] = [:]
    var requests: [UInt64: Request] = [:]
    private var down: Set<UUID> = []
    private var lastWork = 0
    private var lastRequest: UInt64 = 0
    private var hasBegun = false
    /// Whether `finished` was emitted.
    public private(set) var isFinished = false
    var effects: [RepairEffect] = []

    /// How far into the queue to search for a piece whose replicas are not busy.
    private static let lookAhead = 64

    /// - Parameter progress: the progress of an earlier run of the same job.
    public init(_ job: RepairJob, progress: RepairProgress = RepairProgress(), options: RepairOptions = RepairOptions())
    {
        precondition(
            options.rangesInFlight > 0 && options.treesPerNode > 0 && options.partitionsPerTree > 0
                && options.pageRows > 0
                && options.pageBytes > 0 && options.writeBytes > 0 && options.attempts > 0,
            "a limit of the repair is not positive")
        self.job = job
        self.options = options
        self.progress = progress
        report = RepairReport(isPreview: job.mode == .preview)
    }

    /// The number of pieces waiting or under way.
    var piecesLeft: Int { queue.count + works.count }

    /// When the next `tick` is due; nil when no request is under way.
    public var nextDeadline: Int64? { requests.values.map(\.deadline).min() }

    /// Handles an event.
    /// - Parameter now: monotonic microseconds; not less than at the previous event.
    /// - Returns: the effects to perform.
    public mutating func handle(_ event: RepairEvent, now: Int64) -> [RepairEffect] {
        if isFinished { return [] }
        switch event {
        case .begin:
            if !hasBegun { plan() }
            hasBegun = true
        case .reply(let number, let reply):
            if let request = requests.removeValue(forKey: number) { receive(reply, to: request, now) }
        case .nodeDown(let node):
            down.insert(node)
            for number in works.keys.sorted() where works[number]?.replicas.contains(node) == true {
                fail(number, node, "it is down")
            }
        case .nodeUp(let node): down.remove(node)
        case .tick: break
        case .cancel:
            works = [:]
            requests = [:]
            queue = []
            report.isCancelled = true
        }
        expire(now)
        if hasBegun { beginWorks(now) }
        if (hasBegun || report.isCancelled) && works.isEmpty && queue.isEmpty {
            isFinished = true
            effects.append(.finished(report))
        }
        defer { effects = [] }
        return effects
    }

    // MARK: Pieces

    private mutating func plan() {
        var pieces: [Piece] = []
        for (index, range) in job.ranges.enumerated() {
            for (place, table) in job.tables.enumerated() {
                for slice in range.tokens.slices {
                    for left in progress.missing(of: slice, table: table.id) {
                        let parts = left.partCount(
                            atMost: (partitions(table, left) ?? 0) / options.partitionsPerTree + 1)
                        for part in 0..<parts {
                            pieces.append(Piece(table: place, range: index, tokens: left.part(part, of: parts)))
                        }
                    }
                }
            }
        }
        queue = pieces[...]
        report.ranges = pieces.count
    }

    /// Returns the estimated number of partitions in some tokens of a table.
    private func partitions(_ table: RepairTable, _ tokens: TokenSlice) -> Int? {
        table.partitions.map { Int(min(Double($0) * TokenRange(tokens).fraction, 1e15)) }
    }

    private mutating func beginWorks(_ now: Int64) {
        while works.count < options.rangesInFlight, let place = nextPiece() {
            // Moves the piece to the front and keeps the order of the waiting pieces before it.
            for index in (queue.startIndex..<place).reversed() { queue.swapAt(index, index + 1) }
            begin(queue.removeFirst(), now)
        }
    }

    private func nextPiece() -> Int? {
        var trees: [UUID: Int] = [:]
        for work in works.values where work.awaitsTrees { for node in work.replicas { trees[node, default: 0] += 1 } }
        let busy = trees.filter { $0.value >= options.treesPerNode }
        return queue.indices.prefix(RepairSession.lookAhead).first { place in
            busy.isEmpty || !job.ranges[queue[place].range].replicas.contains { busy[$0] != nil }
        }
    }

    private mutating func begin(_ piece: Piece, _ now: Int64) {
        let table = job.tables[piece.table]
        var replicas: [UUID] = []
        for node in job.ranges[piece.range].replicas where !replicas.contains(node) { replicas.append(node) }
        lastWork += 1
        works[lastWork] = Work(piece: piece, replicas: replicas, trees: replicas.map { _ in nil })
        if let dead = replicas.first(where: { down.contains($0) }) { return fail(lastWork, dead, "it is down") }
        // A single replica has nothing to compare with.
        guard replicas.count > 1 else { return end(lastWork) }
        let command = TreeCommand(
            table: table.id, tokens: piece.tokens, depth: MerkleTree.depth(partitions: partitions(table, piece.tokens)),
            gcBefore: table.gcBefore, now: job.now)
        for replica in replicas.indices { send(.tree(command), work: lastWork, to: replica, now) }
    }

    /// Marks a piece as done.
    mutating func end(_ number: Int) {
        guard let work = works.removeValue(forKey: number) else { return }
        report.done += 1
        guard job.mode == .full else { return }
        progress.insert(work.piece.tokens, table: job.tables[work.piece.table].id)
        effects.append(.progress(progress))
    }

    mutating func fail(_ number: Int, _ node: UUID, _ reason: String) {
        guard let work = works.removeValue(forKey: number) else { return }
        for id in requests.keys where requests[id]?.work == number { requests[id] = nil }
        report.add(
            RepairFailure(
                table: job.tables[work.piece.table].id, tokens: TokenRange(work.piece.tokens), node: node,
                reason: reason))
    }

    // MARK: Requests

    mutating func send(
        _ message: PeerRequest, work number: Int, to replica: Int, volume: RepairVolume = RepairVolume(),
        attempt: Int = 1, _ now: Int64
    ) {
        guard let work = works[number] else { return }
        let isTree = if case .tree = message { true } else { false }
        let timeout = isTree ? options.treeTimeout : options.requestTimeout
        lastRequest += 1
        requests[lastRequest] = Request(
            work: number, replica: replica, message: message, volume: volume, attempt: attempt, deadline: now + timeout)
        effects.append(.send(request: lastRequest, to: work.replicas[replica], message, timeout: timeout))
    }

    /// Handles timed-out requests and sends again those whose pause is over.
    private mutating func expire(_ now: Int64) {
        for id in requests.keys.sorted() {
            guard let request = requests[id], request.deadline <= now else { continue }
            requests[id] = nil
            if request.isResting {
                send(
                    request.message, work: request.work, to: request.replica, volume: request.volume,
                    attempt: request.attempt + 1, now)
            } else {
                retry(request, as: id, "no answer in time", now)
            }
        }
    }

    /// Schedules a request to be sent again after a pause. It keeps its number meanwhile, so a late reply still counts.
    private mutating func retry(_ request: Request, as id: UInt64? = nil, _ reason: String, _ now: Int64) {
        guard let work = works[request.work] else { return }
        guard request.attempt < options.attempts else {
            return fail(request.work, work.replicas[request.replica], reason)
        }
        if id == nil { lastRequest += 1 }
        var resting = request
        resting.isResting = true
        resting.deadline = now + options.rest
        requests[id ?? lastRequest] = resting
    }

    private mutating func receive(_ reply: PeerReply, to request: Request, _ now: Int64) {
        guard let work = works[request.work] else { return }
        switch (request.message, reply) {
        case (_, .failed(let reason, let text)):
            // Sending the request again would not help.
            if reason == .unknownTable || reason == .incompatibleSchema {
                return fail(request.work, work.replicas[request.replica], text)
            }
            retry(request, text, now)
        case (.tree(let command), .tree(let tree)): take(tree, of: command, request, now)
        case (.read(let command), .read(let answer)): take(answer, of: command, request, now)
        case (.repair, .done): acknowledge(request, now)
        default: fail(request.work, work.replicas[request.replica], "it sent a reply of another kind")
        }
    }
}
