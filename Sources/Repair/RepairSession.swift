import Cluster
import DataModel
import Messages
import Primitives

/// Makes replicas hold the same: a state machine without network, disk or clock.
///
/// 1. The job's tables and ranges are cut into pieces of work; what `RepairProgress` says is done is left out. `rangesInFlight` pieces are under
///    way at once, in order, but for those whose replicas are busy with trees.
/// 2. Of a piece, all replicas are asked for their trees at the same time. Where all leaves are the same nothing is left to do.
/// 3. The stretches in which any two trees differ are read page by page, from one replica of each group whose trees agree there. Each page is
///    reconciled over the keys that all answers cover, and what a group lacks is sent to all its replicas. When they have it, the next page follows.
/// 4. A request that fails, or is not answered in time, is sent again after a rest; after `attempts` its piece fails with a reason, and the others go
///    on. So does a piece with a replica that is down. Whatever is done twice changes nothing.
/// 5. A preview does the same without sending; what it counts is what would be sent.
///
/// The same events at the same times give the same effects. Times are microseconds of a clock that only goes forward.
public struct RepairSession: Sendable {
    /// A piece of work before it begins.
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
        /// As long as one is missing, the piece waits for trees.
        var trees: [MerkleTree?]
        /// Stretches that differ and are not done; the first is being read.
        var stretches: ArraySlice<TreeDifference> = []
        /// What of the first stretch is left.
        var keys = KeyRange(start: [], end: [])
        /// The page, by group of the first stretch.
        var answers: [ReadAnswer?] = []
        /// Sent and not acknowledged.
        var writesLeft = 0
        /// Of the first stretch.
        var volume = RepairVolume()
        var awaitsTrees = true
    }

    /// A request under way or to be sent again.
    struct Request: Sendable {
        let work: Int
        /// Index in the work's replicas.
        let replica: Int
        let message: PeerRequest
        /// Of a write.
        let volume: RepairVolume
        var attempt: Int
        /// When it counts as failed; while it rests, when it is sent again.
        var deadline: Int64
        var isResting = false
    }

    public let job: RepairJob
    public let options: RepairOptions
    /// What is done so far, with what was done before.
    public private(set) var progress: RepairProgress
    public internal(set) var report: RepairReport
    private var queue: ArraySlice<Piece> = []
    var works: [Int: Work] = [:]
    var requests: [UInt64: Request] = [:]
    private var down: Set<UUID> = []
    private var lastWork = 0
    private var lastRequest: UInt64 = 0
    private var hasBegun = false
    /// Whether `finished` was said.
    public private(set) var isFinished = false
    var effects: [RepairEffect] = []

    /// How far the queue is searched for a piece whose replicas are not busy.
    private static let lookAhead = 64

    /// - Parameter progress: of an earlier run of the same job.
    public init(_ job: RepairJob, progress: RepairProgress = RepairProgress(), options: RepairOptions = RepairOptions()) {
        precondition(
            options.rangesInFlight > 0 && options.treesPerNode > 0 && options.partitionsPerTree > 0 && options.pageRows > 0
                && options.pageBytes > 0 && options.writeBytes > 0 && options.attempts > 0, "limits of a repair")
        self.job = job
        self.options = options
        self.progress = progress
        report = RepairReport(isPreview: job.mode == .preview)
    }

    /// Pieces that wait and are under way.
    public var piecesLeft: Int { queue.count + works.count }

    /// When `tick` is due; nil when nothing is waited for.
    public var nextDeadline: Int64? { requests.values.map(\.deadline).min() }

    /// Takes an event.
    /// - Parameter now: monotonic microseconds; not below those of the event before.
    /// - Returns: what is to be done.
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
            for number in works.keys.sorted() where works[number]?.replicas.contains(node) == true { fail(number, node, "it is down") }
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
                        let parts = left.partCount(atMost: (partitions(table, left) ?? 0) / options.partitionsPerTree + 1)
                        for part in 0..<parts { pieces.append(Piece(table: place, range: index, tokens: left.part(part, of: parts))) }
                    }
                }
            }
        }
        queue = pieces[...]
        report.ranges = pieces.count
    }

    /// An estimate for some tokens of a table.
    private func partitions(_ table: RepairTable, _ tokens: TokenSlice) -> Int? {
        table.partitions.map { Int(min(Double($0) * TokenRange(tokens).fraction, 1e15)) }
    }

    private mutating func beginWorks(_ now: Int64) {
        while works.count < options.rangesInFlight, let place = nextPiece() {
            // Those before it, which have to wait, stay the next.
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
        // Who is alone agrees with itself.
        guard replicas.count > 1 else { return end(lastWork) }
        let command = TreeCommand(
            table: table.id, tokens: piece.tokens, depth: MerkleTree.depth(partitions: partitions(table, piece.tokens)),
            gcBefore: table.gcBefore, now: job.now)
        for replica in replicas.indices { send(.tree(command), work: lastWork, to: replica, now) }
    }

    /// A piece has come to its end.
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
                table: job.tables[work.piece.table].id, tokens: TokenRange(work.piece.tokens), node: node, reason: reason))
    }

    // MARK: Requests

    mutating func send(
        _ message: PeerRequest, work number: Int, to replica: Int, volume: RepairVolume = RepairVolume(), attempt: Int = 1, _ now: Int64
    ) {
        guard let work = works[number] else { return }
        let isTree = if case .tree = message { true } else { false }
        let timeout = isTree ? options.treeTimeout : options.requestTimeout
        lastRequest += 1
        requests[lastRequest] = Request(
            work: number, replica: replica, message: message, volume: volume, attempt: attempt, deadline: now + timeout)
        effects.append(.send(request: lastRequest, to: work.replicas[replica], message, timeout: timeout))
    }

    /// What was not answered in time has failed; what has rested is sent again.
    private mutating func expire(_ now: Int64) {
        for id in requests.keys.sorted() {
            guard let request = requests[id], request.deadline <= now else { continue }
            requests[id] = nil
            if request.isResting {
                send(
                    request.message, work: request.work, to: request.replica, volume: request.volume, attempt: request.attempt + 1, now)
            } else {
                retry(request, as: id, "no answer in time", now)
            }
        }
    }

    /// Has a request rest, under its number: an answer that comes after all is still taken.
    private mutating func retry(_ request: Request, as id: UInt64? = nil, _ reason: String, _ now: Int64) {
        guard let work = works[request.work] else { return }
        guard request.attempt < options.attempts else { return fail(request.work, work.replicas[request.replica], reason) }
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
            // Asking again would not change that.
            if reason == .unknownTable || reason == .incompatibleSchema {
                return fail(request.work, work.replicas[request.replica], text)
            }
            retry(request, text, now)
        case (.tree(let command), .tree(let tree)): take(tree, of: command, request, now)
        case (.read(let command), .read(let answer)): take(answer, of: command, request, now)
        case (.repair, .done): acknowledge(request, now)
        default: fail(request.work, work.replicas[request.replica], "an answer of another kind")
        }
    }
}
