import Cluster
import DataModel
import Messages
import ModelReplica
import Primitives
import Testing

@testable import Repair

@Suite struct SessionTests {
    /// A cluster with random contents, where replicas missed some changes, and a job that repairs everything.
    private struct Scene {
        var net: VirtualRepair
        var job: RepairJob
        var options: RepairOptions
        /// What every replica holds when nothing was missed.
        var whole: ModelReplica
        var owners: [(tokens: TokenRange, replicas: [Int])]

        /// - Parameter spread: the number of nodes beyond the replicas of one range.
        init(seed: UInt64, spread: Int = 0, missed: Double = 0.3) {
            var random = SeededRandom(seed: seed &+ 7_000)
            let copies = 2 + Int(random.next() % 3)
            let count = copies + spread
            net = VirtualRepair(count, seed: seed)
            var ends = Set((0..<(1 + Int(random.next() % 6))).map { _ in Int64(bitPattern: random.next()) })
            if seed % 5 == 0 { ends = [Int64.max] }
            if seed % 5 == 1 { ends.insert(.min + 1) }
            let sorted = ends.sorted()
            owners = sorted.indices.map { index in
                let tokens = TokenRange(
                    after: sorted[index == 0 ? sorted.count - 1 : index - 1], through: sorted[index])
                return (tokens, (0..<copies).map { (index + $0) % count })
            }
            var tokens = (0..<12).map { _ in Int64(bitPattern: random.next()) } + [.min, .max, 0]
            // Adjacent tokens, and the ends of ranges.
            tokens += [tokens[0] &+ 1, tokens[0] &+ 2] + sorted
            let isPurging = random.next() % 3 == 0
            let gcBefore = isPurging ? Sample.now - 1000 + UInt32(random.next() % 40) : 0
            whole = ModelReplica()
            let tables = random.next() % 3 == 0 ? [Sample.table, Sample.other] : [Sample.table]
            for step in 0..<(10 + Int(random.next() % 90)) {
                let mutation = Sample.random(&random, tokens: tokens, step: step, table: tables[step % tables.count])
                whole.apply(mutation)
                // Purgeable deletions have reached all replicas.
                let isOld = Sample.now - 1000 + UInt32(step) < gcBefore
                let token = Scene.token(of: mutation)
                guard let token, let owner = owners.first(where: { $0.tokens.contains(token) }) else { continue }
                for replica in owner.replicas {
                    let isMissed = Double(random.next() % 1000) < missed * 1000 && !isOld
                    if !isMissed || replica == owner.replicas[step % copies] { net.replicas[replica].apply(mutation) }
                }
            }
            options = RepairOptions()
            options.pageRows = [1, 2, 5, 1000][Int(random.next() % 4)]
            options.pageBytes = [1, 200, 1 << 20][Int(random.next() % 3)]
            options.writeBytes = [1, 200, 1 << 20][Int(random.next() % 3)]
            options.rangesInFlight = 1 + Int(random.next() % 4)
            options.treesPerNode = 1 + Int(random.next() % 2)
            options.partitionsPerTree = 60
            let partitions = seed % 16 == 0 ? nil : [10, 100, 300][Int(random.next() % 3)]
            job = RepairJob(
                tables: tables.map { RepairTable(id: $0, gcBefore: gcBefore, partitions: partitions) },
                ranges: owners.map { RepairRange(tokens: $0.tokens, replicas: $0.replicas.map(Sample.node)) },
                now: Sample.now)
        }

        private static func token(of mutation: [UInt8]) -> Int64? {
            mutation.withUnsafeBytes { bytes in
                var reader = MutationReader(bytes)
                guard (try? reader.nextTable()) == true, let operation = try? reader.nextOperation() else { return nil }
                switch operation {
                case .row(let key, _): return KeyView(key).token
                case .deleteRange(let start, _, _): return KeyView(start).token
                }
            }
        }

        /// Returns what a replica holds of a range, table by table.
        func contents(_ model: ModelReplica, _ tokens: TokenRange) -> [ReadAnswer] {
            job.tables.flatMap { table in
                tokens.slices.map {
                    model.answer(
                        ReadCommand(
                            table: table.id, range: $0.keys, rowLimit: .max, byteLimit: .max, gcBefore: table.gcBefore,
                            now: Sample.now))
                }
            }
        }

        func expectEqual(_ seed: UInt64) {
            for (tokens, replicas) in owners {
                let expected = contents(whole, tokens).map(\.digest)
                for replica in replicas {
                    let held = contents(net.replicas[replica], tokens).map(\.digest)
                    #expect(held == expected, "seed \(seed), replica \(replica), \(tokens)")
                }
            }
        }

        var all: [[String]] { net.replicas.map { $0.contents() + $0.contents(Sample.other) } }
    }

    @Test(arguments: 0..<300) func replicasAreEqualAfterARepair(seed: UInt64) throws {
        let scene = Scene(seed: seed, spread: Int(seed % 3))
        var session = RepairSession(scene.job, options: scene.options)
        let report = try #require(scene.net.run(&session))
        #expect(report.isComplete && report.failures.isEmpty && report.compared == report.ranges)
        scene.expectEqual(seed)
        #expect(report.sent == report.sentTo.values.reduce(into: RepairVolume()) { $0 += $1 })
        #expect(report.sent == report.differences.reduce(into: RepairVolume()) { $0 += $1.volume })
        #expect(report.differenceCount == report.differences.count)
        // A second repair finds nothing to send.
        var again = RepairSession(scene.job, options: scene.options)
        let second = try #require(scene.net.run(&again))
        #expect(
            second.isComplete && second.differing == 0 && second.sent == RepairVolume() && second.rowsRead == 0,
            "seed \(seed)")
        // A repair that continues from complete progress has nothing to do.
        var rest = RepairSession(scene.job, progress: scene.net.lastProgress, options: scene.options)
        let third = try #require(scene.net.run(&rest))
        #expect(third.isComplete && third.ranges == 0)
    }

    @Test(arguments: 0..<200) func repeatedRunsRepairDespiteLostMessages(seed: UInt64) throws {
        let scene = Scene(seed: seed, spread: Int(seed % 2))
        scene.net.loss = [0.01, 0.05, 0.2, 0.4][Int(seed % 4)]
        var progress = RepairProgress()
        var runs = 0
        while true {
            var options = scene.options
            if seed % 8 < 4 { options.attempts = 1 }
            var session = RepairSession(scene.job, progress: progress, options: options)
            let report = try #require(scene.net.run(&session))
            runs += 1
            #expect(report.done + report.failed == report.ranges)
            #expect(report.failures.count == report.failed && report.failures.allSatisfy { !$0.reason.isEmpty })
            progress = session.progress
            if report.isComplete { break }
            if runs == 2 { scene.net.loss = 0 }
            try #require(runs < 4)
        }
        scene.expectEqual(seed)
    }

    @Test(arguments: 0..<200) func previewReportsDifferencesAndMovesNothing(seed: UInt64) throws {
        var scene = Scene(seed: seed)
        let before = scene.all
        scene.job.mode = .preview
        var preview = RepairSession(scene.job, options: scene.options)
        let said = try #require(scene.net.run(&preview))
        #expect(said.isPreview && said.isComplete)
        #expect(scene.all == before)
        #expect(scene.net.sent[.repair] == nil && scene.net.progressCount == 0 && preview.progress.isEmpty)
        scene.job.mode = .full
        var full = RepairSession(scene.job, options: scene.options)
        var moved = try #require(scene.net.run(&full))
        func ordered(_ differences: [RepairDifference]) -> [String] { differences.map { "\($0)" }.sorted() }
        #expect(ordered(moved.differences) == ordered(said.differences))
        moved.differences = said.differences
        moved.isPreview = true
        #expect(moved == said, "seed \(seed)")
    }

    @Test(arguments: 0..<200) func interruptedRepairContinues(seed: UInt64) throws {
        let scene = Scene(seed: seed, spread: Int(seed % 3))
        scene.net.loss = seed % 4 == 0 ? 0.05 : 0
        var first = RepairSession(scene.job, options: scene.options)
        let stopAt = 1 + Int(seed % 9)
        let isWhole = scene.net.run(&first, stops: { _ in scene.net.progressCount >= stopAt }) != nil
        let done = scene.net.lastProgress
        var asked = 0
        scene.net.loss = 0
        scene.net.onRequest = { _, request in
            guard case .tree(let command) = request else { return }
            asked += 1
            #expect(
                done.missing(of: command.tokens, table: command.table) == [command.tokens], "seed \(seed): done twice")
        }
        var second = RepairSession(scene.job, progress: done, options: scene.options)
        let report = try #require(scene.net.run(&second))
        #expect(report.isComplete)
        #expect(isWhole || asked > 0 || report.ranges == 0)
        scene.expectEqual(seed)
    }

    /// Of replicas that agree only one is read, and all are sent what they lack.
    @Test func onlyOneOfEqualReplicasIsRead() throws {
        let net = VirtualRepair(5, seed: 1)
        for index in 0..<5 {
            net.replicas[index].apply(Sample.put(Sample.key(10), [1]))
            if index % 2 == 0 { net.replicas[index].apply(Sample.put(Sample.key(10), [2], at: 11)) }
        }
        let job = RepairJob(
            tables: [RepairTable(id: Sample.table, gcBefore: 0)],
            ranges: [RepairRange(tokens: TokenRange(after: 0, through: 1000), replicas: (0..<5).map(Sample.node))],
            now: Sample.now)
        var session = RepairSession(job)
        let report = try #require(net.run(&session))
        #expect(net.sent == [.tree: 5, .read: 2, .repair: 2])
        #expect(report.sentTo.keys.sorted() == [Sample.node(1), Sample.node(3)] && report.sent.rows == 2)
        #expect(Set(net.replicas.map { $0.contents() }).count == 1)
    }

    // MARK: Failures

    /// Returns a job of twelve ranges over six nodes with three replicas each.
    private static func ring(_ net: VirtualRepair) -> RepairJob {
        let ends = (0..<12).map { Int64($0 * 1000) }
        let ranges = ends.indices.map { index in
            RepairRange(
                tokens: TokenRange(after: ends[(index + 11) % 12], through: ends[index]),
                replicas: (0..<3).map { Sample.node((index + $0) % 6) })
        }
        for (index, end) in ends.enumerated() {
            net.replicas[(index + 1) % 6].apply(Sample.put(Sample.key(end), [UInt8(index)]))
        }
        return RepairJob(tables: [RepairTable(id: Sample.table, gcBefore: 0)], ranges: ranges, now: Sample.now)
    }

    private static func expectOnlyRangesOf(
        _ node: Int, fail report: RepairReport, of job: RepairJob, _ comment: Comment
    ) {
        let failed = Set(report.failures.map(\.tokens))
        for range in job.ranges {
            for slice in range.tokens.slices {
                #expect(failed.contains(TokenRange(slice)) == range.replicas.contains(Sample.node(node)), comment)
            }
        }
        #expect(report.failures.allSatisfy { $0.node == Sample.node(node) })
    }

    @Test func silentReplicaFailsOnlyItsRanges() throws {
        let net = VirtualRepair(6, seed: 1)
        let job = Self.ring(net)
        net.dead = [2]
        var options = RepairOptions()
        options.attempts = 2
        var session = RepairSession(job, options: options)
        let report = try #require(net.run(&session))
        Self.expectOnlyRangesOf(2, fail: report, of: job, "silent")
        #expect(report.failures.allSatisfy { $0.reason == "no answer in time" })
        net.dead = []
        var rest = RepairSession(job, progress: session.progress, options: options)
        let second = try #require(net.run(&rest))
        #expect(second.isComplete && second.ranges == report.failed)
    }

    @Test(arguments: 0..<20) func deadReplicaFailsOnlyItsRanges(seed: UInt64) throws {
        let net = VirtualRepair(6, seed: seed)
        let job = Self.ring(net)
        var session = RepairSession(job)
        let report = try #require(net.run(&session, told: [(Int64(seed * 700), .nodeDown(Sample.node(3)))]))
        #expect(report.done + report.failed == report.ranges)
        #expect(report.failures.allSatisfy { $0.node == Sample.node(3) && $0.reason == "it is down" })
        #expect(report.failed > 0)
        for range in job.ranges where !range.replicas.contains(Sample.node(3)) {
            for slice in range.tokens.slices {
                #expect(session.progress.missing(of: slice, table: Sample.table).isEmpty)
            }
        }
    }

    @Test func returnedNodeIsAskedAgain() {
        let net = VirtualRepair(3, seed: 1)
        let job = RepairJob(
            tables: [RepairTable(id: Sample.table, gcBefore: 0)],
            ranges: [RepairRange(tokens: TokenRange(after: 0, through: 0), replicas: (0..<3).map(Sample.node))],
            now: Sample.now)
        var session = RepairSession(job)
        #expect(session.handle(.nodeDown(Sample.node(0)), now: 0).isEmpty)
        #expect(session.handle(.nodeUp(Sample.node(0)), now: 0).isEmpty)
        #expect(net.run(&session)?.isComplete == true)
        #expect(net.sent == [.tree: 3])
    }

    /// Returns a session of one range, with the numbers of its first three requests.
    private static func begun(_ options: RepairOptions = RepairOptions()) -> (RepairSession, [UInt64], TreeCommand) {
        let job = RepairJob(
            tables: [RepairTable(id: Sample.table, gcBefore: 0)],
            ranges: [RepairRange(tokens: TokenRange(after: 0, through: 1000), replicas: (0..<3).map(Sample.node))],
            now: Sample.now)
        var session = RepairSession(job, options: options)
        var numbers: [UInt64] = []
        var asked = TreeCommand(table: Sample.table, tokens: 0...0, depth: 0, gcBefore: 0, now: 0)
        for effect in session.handle(.begin, now: 0) {
            guard case .send(let number, _, .tree(let command), _) = effect else { continue }
            numbers.append(number)
            asked = command
        }
        return (session, numbers, asked)
    }

    private static func failure(_ effects: [RepairEffect]) -> String? {
        guard case .finished(let report)? = effects.last else { return nil }
        return report.failures.first?.reason
    }

    @Test func invalidAnswersFailTheRange() {
        var (session, numbers, command) = Self.begun()
        let wrong = session
        let tree = MerkleTree(tokens: 0...1000, depth: command.depth)
        #expect(
            Self.failure(session.handle(.reply(request: numbers[0], .tree(tree)), now: 1))?.contains("other tokens")
                == true)
        session = wrong
        #expect(
            Self.failure(session.handle(.reply(request: numbers[0], .done), now: 1))?.contains("another kind") == true)
        session = wrong
        #expect(
            Self.failure(session.handle(.reply(request: numbers[0], .failed(.unknownTable, "no such table")), now: 1))
                == "no such table")
        // Pages that make no progress or go beyond the range.
        for coveredTo: [UInt8] in [[], (Int64(1)...1000).keys.start, [0xff, 0xff]] {
            session = wrong
            var builder = TreeBuilder(command)
            Sample.put(Sample.key(5), [1]).withUnsafeBytes { bytes in
                var reader = ByteReader(UnsafeRawBufferPointer(rebasing: bytes[20...]))
                if case .row(let key, let row)? = try? MutationReader.operation(from: &reader) {
                    builder.add(key: key, row: RowView(row))
                }
            }
            let full = builder.finish()
            let empty = MerkleTree(tokens: command.tokens, depth: command.depth)
            _ = session.handle(.reply(request: numbers[0], .tree(full)), now: 1)
            _ = session.handle(.reply(request: numbers[1], .tree(empty)), now: 1)
            let reads = session.handle(.reply(request: numbers[2], .tree(empty)), now: 1)
            // Two replicas agree, so one of them is read.
            #expect(reads.count == 2)
            guard case .send(let number, _, .read, _)? = reads.first else {
                Issue.record("no page is read")
                return
            }
            let answer = ReadAnswer(coveredTo: coveredTo, operations: [], rowCount: 0)
            #expect(
                Self.failure(session.handle(.reply(request: number, .read(answer)), now: 2))?.contains(
                    "a page that ends") == true)
        }
    }

    @Test func requestIsRetriedAfterAPauseAndALateAnswerCounts() {
        var (session, numbers, command) = Self.begun()
        let empty = MerkleTree(tokens: command.tokens, depth: command.depth)
        _ = session.handle(.reply(request: numbers[0], .tree(empty)), now: 1)
        _ = session.handle(.reply(request: numbers[1], .failed(.overloaded, "busy")), now: 10)
        #expect(session.nextDeadline == 10 + session.options.rest)
        #expect(session.handle(.tick, now: 9 + session.options.rest).isEmpty)
        let again = session.handle(.tick, now: 10 + session.options.rest)
        #expect(again.count == 1)
        guard case .send(let number, let to, .tree(command), let timeout)? = again.first else {
            Issue.record("not sent again")
            return
        }
        #expect(to == Sample.node(1) && timeout == session.options.treeTimeout && !numbers.contains(number))
        _ = session.handle(.reply(request: number, .tree(empty)), now: 20)
        // The third answer arrives late, during the pause before a retry.
        #expect(session.handle(.tick, now: session.options.treeTimeout).isEmpty)
        let last = session.handle(.reply(request: numbers[2], .tree(empty)), now: session.options.treeTimeout + 1).last
        guard case .finished(let report)? = last else {
            Issue.record("not finished")
            return
        }
        #expect(report.isComplete && report.differing == 0)
        #expect(session.handle(.reply(request: numbers[2], .done), now: .max).isEmpty)
    }

    @Test func cancelledSessionSendsNothing() {
        var (session, numbers, _) = Self.begun()
        guard case .finished(let report)? = session.handle(.cancel, now: 5).last else {
            Issue.record("not finished")
            return
        }
        #expect(report.isCancelled && !report.isComplete && report.failures.isEmpty)
        #expect(session.handle(.reply(request: numbers[0], .done), now: 6).isEmpty)
        #expect(session.isFinished && session.nextDeadline == nil)
    }

    @Test func rangesAndTreesInFlightAreLimited() throws {
        for (ranges, trees) in [(1, 1), (3, 1), (3, 2), (12, 12)] {
            let net = VirtualRepair(6, seed: 5)
            var options = RepairOptions()
            options.rangesInFlight = ranges
            options.treesPerNode = trees
            var session = RepairSession(Self.ring(net), options: options)
            var most: [UUID: Int] = [:]
            let report = try #require(
                net.run(&session) { session in
                    var now: [UUID: Int] = [:]
                    for work in session.works.values where work.awaitsTrees {
                        for node in work.replicas { now[node, default: 0] += 1 }
                    }
                    most.merge(now) { max($0, $1) }
                    #expect(session.works.count <= ranges && session.requests.count <= 3 * ranges)
                    return false
                })
            #expect(report.isComplete)
            #expect((most.values.max() ?? 0) <= trees)
            #expect(net.mostInFlight <= 3 * ranges)
        }
    }

    @Test func nothingToCompareSendsNoRequests() {
        let net = VirtualRepair(1, seed: 1)
        var job = RepairJob(
            tables: [RepairTable(id: Sample.table, gcBefore: 0)],
            ranges: [
                RepairRange(tokens: TokenRange(after: 0, through: 0), replicas: [Sample.node(0), Sample.node(0)])
            ], now: Sample.now)
        var alone = RepairSession(job)
        #expect(net.run(&alone)?.isComplete == true)
        job.tables = []
        var none = RepairSession(job)
        #expect(net.run(&none)?.isComplete == true)
        #expect(net.sent.isEmpty)
    }

    @Test func rangesOfManyPartitionsAreSplit() throws {
        let net = VirtualRepair(2, seed: 1)
        for token in 0..<40 { net.replicas[token % 2].apply(Sample.put(Sample.key(Int64(token) << 57 &- 1), [1])) }
        var options = RepairOptions()
        options.partitionsPerTree = 10
        let job = RepairJob(
            tables: [RepairTable(id: Sample.table, gcBefore: 0, partitions: 100)],
            ranges: [
                RepairRange(tokens: TokenRange(after: .max, through: .max), replicas: [Sample.node(0), Sample.node(1)])
            ],
            now: Sample.now)
        var session = RepairSession(job, options: options)
        let report = try #require(net.run(&session))
        #expect(report.ranges == 11 && report.isComplete)
        #expect(net.replicas[0].contents() == net.replicas[1].contents())
        #expect(session.progress.done[Sample.table]?.slices == [Int64.min...Int64.max])
    }
}
