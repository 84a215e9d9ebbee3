import Cluster
import DataModel
import Messages
import Primitives

// The work on one piece, from its trees to its last page.
extension RepairSession {
    mutating func take(_ tree: MerkleTree, of command: TreeCommand, _ request: Request, _ now: Int64) {
        guard var work = works[request.work] else { return }
        guard tree.hasShape(of: command) else {
            return fail(
                request.work, work.replicas[request.replica], "it sent a tree of other tokens or depth than requested")
        }
        work.trees[request.replica] = tree
        let trees = work.trees.compactMap { $0 }
        guard trees.count == work.replicas.count else {
            works[request.work] = work
            return
        }
        report.compared += 1
        for tree in trees {
            // Any replica may claim many: the sums may wrap, not trap.
            report.rowsCompared &+= tree.rows
            report.bytesCompared &+= tree.bytes
        }
        work.awaitsTrees = false
        work.trees = []
        work.stretches = MerkleTree.differences(among: trees).dropLast(PlantedBugs.isOn(.repairSkipsStretch) ? 1 : 0)
        work.keys = work.stretches.first?.tokens.keys ?? work.keys
        works[request.work] = work
        if work.stretches.isEmpty { return end(request.work) }
        report.differing += 1
        readPage(request.work, now)
    }

    private mutating func readPage(_ number: Int, _ now: Int64) {
        guard let stretch = works[number]?.stretches.first, let work = works[number] else { return }
        let readers = stretch.firsts
        works[number]?.answers = readers.map { _ in nil }
        let table = job.tables[work.piece.table]
        let command = ReadCommand(
            table: table.id, range: work.keys, rowLimit: min(options.pageRows, ReadCommand.largestRowLimit),
            byteLimit: options.pageBytes,
            gcBefore: table.gcBefore, now: job.now)
        for replica in readers { send(.read(command), work: number, to: replica, now) }
    }

    mutating func take(_ answer: ReadAnswer, of command: ReadCommand, _ request: Request, _ now: Int64) {
        guard var work = works[request.work], let stretch = work.stretches.first else { return }
        // Without this check the same page could be requested forever.
        if let coveredTo = answer.coveredTo,
            compareBytes(coveredTo, command.range.start) <= 0 || compareBytes(coveredTo, command.range.end) > 0
        {
            return fail(
                request.work, work.replicas[request.replica], "it sent a page that ends outside the requested range")
        }
        report.rowsRead += answer.rowCount
        report.bytesRead += answer.operations.count
        work.answers[stretch.groups[request.replica]] = answer
        let answers = work.answers.compactMap { $0 }
        guard answers.count == work.answers.count else {
            works[request.work] = work
            return
        }
        work.answers = []
        var writes: [(replica: Int, write: RepairWrite)] = []
        do throws(ByteError) {
            let outcome = try Reconciler().reconcile(answers, of: command)
            work.keys.start = outcome.answer.coveredTo ?? work.keys.end
            for (group, lacking) in outcome.lacking.enumerated() where !lacking.isEmpty {
                let messages = try RepairWrites.messages(lacking, table: command.table, limit: options.writeBytes)
                for replica in work.replicas.indices where stretch.groups[replica] == group {
                    writes += messages.map { (replica, $0) }
                }
            }
        } catch {
            return fail(request.work, work.replicas[request.replica], "a replica's answer does not parse: \(error)")
        }
        if job.mode == .preview {
            for (replica, write) in writes {
                report.count(write.volume, to: work.replicas[replica])
                work.volume += write.volume
            }
            writes = []
        }
        work.writesLeft = writes.count
        works[request.work] = work
        for (replica, write) in writes {
            send(.repair(write.mutations), work: request.work, to: replica, volume: write.volume, now)
        }
        if writes.isEmpty { goOn(request.work, now) }
    }

    mutating func acknowledge(_ request: Request, _ now: Int64) {
        guard var work = works[request.work] else { return }
        report.count(request.volume, to: work.replicas[request.replica])
        work.volume += request.volume
        work.writesLeft -= 1
        works[request.work] = work
        if work.writesLeft == 0 { goOn(request.work, now) }
    }

    /// Continues with the next page or the next slice, or ends the piece.
    private mutating func goOn(_ number: Int, _ now: Int64) {
        guard var work = works[number], let stretch = work.stretches.first else { return }
        if work.keys.isEmpty {
            report.add(
                RepairDifference(
                    table: job.tables[work.piece.table].id, tokens: TokenRange(stretch.tokens), volume: work.volume))
            work.volume = RepairVolume()
            work.stretches.removeFirst()
            guard let next = work.stretches.first else { return end(number) }
            work.keys = next.tokens.keys
            works[number] = work
        }
        readPage(number, now)
    }
}
