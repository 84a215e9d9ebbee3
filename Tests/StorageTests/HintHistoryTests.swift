import Platform
import Primitives
import Testing

@testable import Storage

/// Random histories of a hint store whose process is killed, whose machine loses power, and whose disk fails.
@Suite struct HintHistoryTests {
    /// What is known of one target's hints. Their numbers increase.
    struct Model {
        var added: Set<Int> = []
        var acknowledged: Set<Int> = []
        /// Written to the kernel.
        var flushed: Set<Int> = []
        /// Synced to the disk.
        var synced: Set<Int> = []
        /// Acknowledged before the last sync: never returned again.
        var gone: Set<Int> = []
        var waiting: Set<Int> { added.subtracting(acknowledged) }

        func afterFlush() -> Model {
            Model(added: added, acknowledged: acknowledged, flushed: added, synced: synced, gone: gone)
        }
        func afterSync() -> Model {
            Model(added: added, acknowledged: acknowledged, flushed: added, synced: added, gone: acknowledged)
        }
    }

    struct World {
        let seed: Int
        let faults = EngineCrashTests.Faults()
        var samples: HintSamples
        var random: SeededRandom
        var models: [UUID: Model] = [HintSamples.a: Model(), HintSamples.b: Model()]
        var next = 0

        init(seed: Int) throws {
            self.seed = seed
            random = SeededRandom(seed: UInt64(seed))
            let faults = faults
            samples = try HintSamples(system: MemoryFileSystem { _, _ in faults.reason() })
        }

        mutating func target() -> UUID { Bool.random(using: &random) ? HintSamples.a : HintSamples.b }

        mutating func add() throws {
            let target = target()
            let bytes = HintSamples.bytes(next, count: Int.random(in: 4...900, using: &random))
            #expect(try samples.add(target, bytes))
            models[target]?.added.insert(next)
            next += 1
        }

        mutating func flush() {
            do {
                try samples.store.flush()
                models = models.mapValues { $0.afterFlush() }
            } catch {}
        }

        mutating func sync() {
            do {
                try samples.store.sync()
                models = models.mapValues { $0.afterSync() }
            } catch {}
        }

        /// Reads all hints and acknowledges some from the front.
        mutating func replay() throws {
            let target = target()
            guard let reader = samples.store.reader(for: target) else { return }
            let wanted = Int.random(in: 0...20, using: &random)
            let size = Int.random(in: 1...3000, using: &random)
            var batches: [HintBatch] = []
            do {
                while let batch = try reader.next(maxBytes: size) {
                    batches.append(batch)
                    if batches.count == wanted { break }
                }
            } catch {}
            for batch in batches.prefix(Int.random(in: 0...wanted, using: &random)) {
                reader.acknowledge(upTo: batch.end)
                for hint in batch.hints { models[target]?.acknowledged.insert(HintSamples.number(hint.mutations)) }
            }
        }

        /// Checks that exactly the hints that were not acknowledged are waiting.
        func check(_ what: String) throws {
            faults.set(.none)
            samples.store.checkInvariants()
            for (target, model) in models {
                #expect(try samples.waiting(target) == model.waiting.sorted(), "seed \(seed), \(what)")
            }
        }

        /// Kills the process, and perhaps the machine, and checks what must have survived and what must not come back.
        mutating func die(withMachine: Bool, at step: Int) throws {
            faults.set(.none)
            if withMachine { samples.system.crash(random: &random) }
            try samples.reopen()
            samples.store.checkInvariants()
            for (target, model) in models {
                let found = try samples.waiting(target)
                let what = "seed \(seed), step \(step), \(withMachine ? "power lost" : "killed")"
                #expect(found == found.sorted(), "\(what): out of order")
                let present = Set(found)
                let lost = (withMachine ? model.synced : model.flushed).subtracting(model.acknowledged).subtracting(
                    present)
                #expect(lost.isEmpty || samples.store.needsRepair(target), "\(what): hints \(lost.sorted()) are lost")
                #expect(
                    present.isDisjoint(with: model.gone),
                    "\(what): hints \(present.intersection(model.gone).sorted()) are back")
                #expect(present.isSubset(of: model.added), "\(what)")
                // From here on the model is what was found.
                models[target]?.added = present.union(model.gone)
                models[target]?.acknowledged = model.gone
                models[target]?.flushed = present.union(model.gone)
                models[target]?.synced = []
            }
        }
    }

    /// - Parameter faults: a file system operation fails about once in this many steps; 0 for never.
    static func run(seed: Int, steps: Int, faults: Int, dies: Bool) throws {
        print("hint history: seed \(seed)")
        var world = try World(seed: seed)
        for step in 0..<steps {
            if faults > 0, Int.random(in: 0..<faults, using: &world.random) == 0 {
                world.faults.set(.once(at: Int.random(in: 0..<12, using: &world.random)))
            }
            switch Int.random(in: 0..<100, using: &world.random) {
            case 0..<60: try world.add()
            case 60..<70: world.flush()
            case 70..<80: world.sync()
            case 80..<93: try world.replay()
            case 93..<96: try world.check("step \(step)")
            case 96..<98:
                let target = world.target()
                world.faults.set(.none)
                try world.samples.store.remove(target)
                world.models[target] = Model()
            default:
                guard dies else { continue }
                if Bool.random(using: &world.random) {
                    world.faults.set(.dead(from: Int.random(in: 0..<15, using: &world.random)))
                    if Bool.random(using: &world.random) { world.sync() } else { world.flush() }
                }
                try world.die(withMachine: Bool.random(using: &world.random), at: step)
            }
            world.samples.time.advance(microseconds: Int64.random(in: 0..<2000, using: &world.random))
        }
        world.faults.set(.none)
        try world.check("the end")
        world.sync()
        try world.die(withMachine: true, at: steps)
    }

    @Test(arguments: 0..<20) func agreesWithAModel(seed: Int) throws {
        try Self.run(seed: seed, steps: 600, faults: 0, dies: false)
    }

    @Test(arguments: 0..<60) func survivesCrashes(seed: Int) throws {
        try Self.run(seed: seed, steps: 400, faults: 0, dies: true)
    }

    @Test(arguments: 0..<60) func survivesFaultsAndCrashes(seed: Int) throws {
        try Self.run(seed: seed, steps: 400, faults: 5, dies: true)
    }

    /// After a crash at any later operation, everything that a successful sync covered is there, and what it removed is
    /// not.
    @Test func crashAtEveryOperation() throws {
        for at in 0..<80 {
            var world = try World(seed: at)
            for _ in 0..<30 { try world.add() }
            world.sync()
            try world.replay()
            world.sync()
            world.faults.set(.dead(from: at))
            for _ in 0..<30 { try world.add() }
            world.flush()
            try world.replay()
            world.sync()
            try world.replay()
            world.sync()
            try world.die(withMachine: true, at: at)
        }
    }

    /// Writers on several threads, one thread that syncs, and a reader: each hint is returned exactly once.
    @Test func concurrentUseOfAStore() async throws {
        let samples = try HintSamples()
        let perWriter = 400
        let seen = await withTaskGroup(of: [Int].self) { group in
            for writer in 0..<4 {
                group.addTask {
                    for number in 0..<perWriter {
                        do {
                            #expect(try samples.add(HintSamples.a, HintSamples.bytes(writer * perWriter + number)))
                        } catch {
                            Issue.record("\(error)")
                        }
                    }
                    return []
                }
            }
            group.addTask {
                for _ in 0..<50 { do { try samples.store.sync() } catch { Issue.record("\(error)") } }
                return []
            }
            group.addTask {
                var seen: [Int] = []
                while seen.count < 4 * perWriter {
                    guard let reader = samples.store.reader(for: HintSamples.a) else { continue }
                    do {
                        while let batch = try reader.next(maxBytes: 2000) {
                            seen += batch.hints.map { HintSamples.number($0.mutations) }
                            reader.acknowledge(upTo: batch.end)
                        }
                    } catch { Issue.record("\(error)") }
                }
                return seen
            }
            return await group.reduce(into: []) { $0 += $1 }
        }
        #expect(seen.sorted() == Array(0..<4 * perWriter))
        for writer in 0..<4 {
            let own = seen.filter { $0 / perWriter == writer }
            #expect(own == own.sorted())
        }
        try samples.store.close()
        samples.store.checkInvariants()
        #expect(try samples.names.isEmpty)
    }
}
