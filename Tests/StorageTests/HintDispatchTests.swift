import Platform
import Primitives
import Testing

@testable import Storage

@Suite struct HintDispatchTests {
    static let a = HintSamples.a
    static let b = HintSamples.b

    static func batch(_ count: Int, _ bytes: Int, end: Int) -> HintBatch {
        let hint = Hint(mutations: [UInt8](repeating: 7, count: bytes), createdAt: 1, graceSeconds: 1)
        return HintBatch(hints: Array(repeating: hint, count: count), end: HintPosition(segment: 1, offset: end))
    }

    static func sent(_ effects: [HintDispatchEffect]) -> [UInt64] {
        effects.compactMap { if case .send(_, let number, _) = $0 { number } else { nil } }
    }

    static func unlimited(_ change: (inout HintDispatchOptions) -> Void = { _ in }) -> HintDispatch {
        var options = HintDispatchOptions()
        options.bytesPerSecond = 0
        change(&options)
        return HintDispatch(options: options)
    }

    @Test func effectsOfOneReplay() {
        var dispatch = Self.unlimited()
        #expect(
            dispatch.handle(.nodeUp(Self.a), now: 0) == [.read(Self.a, session: 1, maxBytes: 64 << 10, maxHints: 128)])
        #expect(dispatch.handle(.nodeUp(Self.a), now: 1).isEmpty, "it is being replayed to")
        let first = dispatch.handle(.read(Self.a, session: 1, Self.batch(2, 10, end: 100)), now: 2)
        let hint = Self.batch(1, 10, end: 0).hints[0]
        #expect(
            first == [
                .send(Self.a, batch: 1, [hint, hint]), .read(Self.a, session: 1, maxBytes: 64 << 10, maxHints: 126),
            ])
        #expect(
            dispatch.handle(.read(Self.a, session: 1, Self.batch(1, 10, end: 200)), now: 3).first
                == .send(Self.a, batch: 2, [hint]))
        #expect(dispatch.handle(.read(Self.a, session: 1, nil), now: 4).isEmpty)
        #expect(dispatch.inFlight(to: Self.a) == 3)
        // Batches are delivered out of order. The position advances only past batches without a gap before them.
        #expect(dispatch.handle(.delivered(Self.a, batch: 2), now: 5).isEmpty)
        #expect(
            dispatch.handle(.delivered(Self.a, batch: 1), now: 6) == [
                .acknowledge(Self.a, session: 1, HintPosition(segment: 1, offset: 200)), .finished(Self.a),
            ])
        #expect(!dispatch.isActive)
        #expect(dispatch.handle(.delivered(Self.a, batch: 1), now: 7).isEmpty)
    }

    @Test func nodeWithoutHintsIsFinishedAtOnce() {
        var dispatch = Self.unlimited()
        _ = dispatch.handle(.nodeUp(Self.a), now: 0)
        #expect(dispatch.handle(.read(Self.a, session: 1, nil), now: 1) == [.finished(Self.a)])
    }

    @Test func pausesGrowWithFailures() {
        var dispatch = Self.unlimited { $0.maximumBackoff = 4_000_000 }
        _ = dispatch.handle(.nodeUp(Self.a), now: 0)
        _ = dispatch.handle(.read(Self.a, session: 1, Self.batch(1, 10, end: 100)), now: 0)
        _ = dispatch.handle(.read(Self.a, session: 1, Self.batch(1, 10, end: 200)), now: 0)
        _ = dispatch.handle(.read(Self.a, session: 1, nil), now: 0)
        var now: Int64 = 0
        for rest: Int64 in [1_000_000, 2_000_000, 4_000_000, 4_000_000] {
            #expect(dispatch.handle(.failed(Self.a, batch: 1), now: now).isEmpty)
            // Both batches were in flight, so this is the same failure and the pause does not grow.
            #expect(dispatch.handle(.failed(Self.a, batch: 2), now: now + 1).isEmpty)
            #expect(dispatch.handle(.tick, now: now + rest - 1).isEmpty)
            now += rest
            #expect(Self.sent(dispatch.handle(.tick, now: now)) == [1, 2], "in order")
        }
        _ = dispatch.handle(.delivered(Self.a, batch: 2), now: now)
        _ = dispatch.handle(.failed(Self.a, batch: 1), now: now)
        #expect(Self.sent(dispatch.handle(.tick, now: now + 1_000_000)) == [1], "a delivery makes rests short again")
        // A batch that was reported as failed is delivered after all.
        _ = dispatch.handle(.failed(Self.a, batch: 1), now: now + 1_000_000)
        #expect(dispatch.handle(.delivered(Self.a, batch: 1), now: now + 1_000_001).last == .finished(Self.a))
    }

    @Test func missingReplyIsAFailure() {
        var dispatch = Self.unlimited()
        _ = dispatch.handle(.nodeUp(Self.a), now: 0)
        _ = dispatch.handle(.read(Self.a, session: 1, Self.batch(1, 10, end: 100)), now: 5)
        #expect(dispatch.handle(.tick, now: 10_000_004).isEmpty && dispatch.inFlight(to: Self.a) == 1)
        #expect(dispatch.handle(.tick, now: 10_000_005).isEmpty && dispatch.inFlight(to: Self.a) == 0)
        #expect(Self.sent(dispatch.handle(.tick, now: 11_000_005)) == [1])
    }

    @Test func failedReadIsRetried() {
        var dispatch = Self.unlimited()
        let read = HintDispatchEffect.read(Self.a, session: 1, maxBytes: 64 << 10, maxHints: 128)
        #expect(dispatch.handle(.nodeUp(Self.a), now: 0) == [read])
        #expect(dispatch.handle(.readFailed(Self.a, session: 1), now: 0).isEmpty)
        #expect(dispatch.handle(.tick, now: 1_000_000) == [read])
    }

    @Test func eventsOfEndedSessionsAreIgnored() {
        var dispatch = Self.unlimited()
        _ = dispatch.handle(.nodeUp(Self.a), now: 0)
        _ = dispatch.handle(.read(Self.a, session: 1, Self.batch(1, 10, end: 100)), now: 0)
        #expect(dispatch.handle(.nodeDown(Self.a), now: 1).isEmpty)
        #expect(!dispatch.isActive)
        #expect(
            dispatch.handle(.nodeUp(Self.a), now: 2) == [.read(Self.a, session: 2, maxBytes: 64 << 10, maxHints: 128)])
        #expect(dispatch.handle(.read(Self.a, session: 1, Self.batch(1, 10, end: 200)), now: 3).isEmpty)
        #expect(dispatch.handle(.readFailed(Self.a, session: 1), now: 3).isEmpty)
        #expect(dispatch.handle(.delivered(Self.a, batch: 1), now: 3).isEmpty)
        #expect(dispatch.handle(.failed(Self.a, batch: 1), now: 3).isEmpty)
        #expect(Self.sent(dispatch.handle(.read(Self.a, session: 2, Self.batch(1, 10, end: 100)), now: 4)) == [2])
        // An answer to no read of this session is ignored.
        _ = dispatch.handle(.read(Self.a, session: 2, nil), now: 5)
        #expect(dispatch.handle(.read(Self.a, session: 2, Self.batch(1, 10, end: 300)), now: 6).isEmpty)
    }

    @Test func hintsInFlightAndTheirBytesAreLimited() {
        var dispatch = Self.unlimited {
            $0.hintsInFlight = 10
            $0.bytesInFlight = 1000
        }
        _ = dispatch.handle(.nodeUp(Self.a), now: 0)
        var effects = dispatch.handle(.read(Self.a, session: 1, Self.batch(7, 10, end: 100)), now: 0)
        #expect(effects.last == .read(Self.a, session: 1, maxBytes: 64 << 10, maxHints: 3))
        effects = dispatch.handle(.read(Self.a, session: 1, Self.batch(3, 10, end: 200)), now: 0)
        #expect(Self.sent(effects) == [2] && effects.count == 1, "the limit is reached: nothing is read")
        effects = dispatch.handle(.delivered(Self.a, batch: 2), now: 1)
        #expect(effects == [.read(Self.a, session: 1, maxBytes: 64 << 10, maxHints: 3)])
        effects = dispatch.handle(.read(Self.a, session: 1, Self.batch(1, 5000, end: 300)), now: 1)
        #expect(Self.sent(effects) == [3] && effects.count == 1, "too many bytes are held")
        effects = dispatch.handle(.delivered(Self.a, batch: 3), now: 1)
        #expect(effects == [.read(Self.a, session: 1, maxBytes: 64 << 10, maxHints: 3)])
    }

    /// Supplies as many hints as are asked for and delivers them at once.
    static func bytesSent(to targets: [UUID], seconds: Int, hintBytes: Int, tick: Int64 = 100_000) -> [UUID: Int] {
        var dispatch = HintDispatch()
        var sent: [UUID: Int] = [:]
        var queue: [HintDispatchEvent] = targets.map { .nodeUp($0) }
        var offset = 0
        for now in stride(from: 0, through: Int64(seconds) * 1_000_000, by: Int64.Stride(tick)) {
            queue.append(.tick)
            while !queue.isEmpty {
                for effect in dispatch.handle(queue.removeFirst(), now: now) {
                    switch effect {
                    case .read(let target, let session, let maxBytes, let maxHints):
                        offset += 8
                        let count = max(1, min(maxHints, maxBytes / hintBytes))
                        queue.append(.read(target, session: session, batch(count, hintBytes, end: offset)))
                    case .send(let target, let number, let hints):
                        sent[target, default: 0] += hints.reduce(0) { $0 + $1.mutations.count }
                        queue.append(.delivered(target, batch: number))
                    case .acknowledge, .finished: continue
                    }
                }
            }
        }
        return sent
    }

    @Test func nodesShareTheRate() {
        let rate = 1024 << 10
        for (hintBytes, most) in [(100, 64 << 10), (40_000, 80_000), (3_000_000, 3_000_000)] {
            let alone = Self.bytesSent(to: [Self.a], seconds: 60, hintBytes: hintBytes)[Self.a] ?? 0
            #expect(alone <= 60 * rate + most && alone >= 59 * rate - most, "\(hintBytes): \(alone)")
            let both = Self.bytesSent(to: [Self.a, Self.b], seconds: 60, hintBytes: hintBytes)
            for (_, bytes) in both {
                #expect(bytes <= 30 * rate + most && bytes >= 29 * rate - most, "\(hintBytes): \(bytes)")
            }
            #expect(both.count == 2)
        }
    }

    /// Two nodes that go down and up, a network that loses and delays, and hints added meanwhile: in the end all are
    /// delivered.
    static func simulate(seed: Int) throws -> [HintDispatchEffect] {
        print("hint dispatch: seed \(seed)")
        var random = SeededRandom(seed: UInt64(seed))
        let samples = try HintSamples()
        var options = HintDispatchOptions()
        options.bytesPerSecond = 20_000
        options.batchBytes = 2000
        options.hintsInFlight = 8
        var dispatch = HintDispatch(options: options)
        var readers: [UUID: (session: UInt64, reader: HintReader)] = [:]
        var arrived: [UUID: Set<Int>] = [:]
        var added: [UUID: Set<Int>] = [:]
        var log: [HintDispatchEffect] = []
        var inbox: [(at: Int64, event: HintDispatchEvent)] = []
        var isUp: Set<UUID> = []
        var number = 0
        for step in 0..<6000 {
            let now = Int64(step) * 100_000
            let isQuiet = step > 3000
            var events: [HintDispatchEvent] = []
            for target in [a, b] {
                if !isQuiet && Int.random(in: 0..<8, using: &random) == 0 {
                    try samples.add(target, HintSamples.bytes(number, count: Int.random(in: 4...1500, using: &random)))
                    added[target, default: []].insert(number)
                    number += 1
                }
                if isQuiet || Int.random(in: 0..<60, using: &random) == 0 {
                    if isQuiet { isUp.insert(target) } else { isUp.formSymmetricDifference([target]) }
                    // The dispatch learns that the node is down before any other event.
                    if !isUp.contains(target) { events.insert(.nodeDown(target), at: 0) }
                }
                if isUp.contains(target), samples.store.targets().contains(where: { $0.id == target }) {
                    events.append(.nodeUp(target))
                }
            }
            events.append(.tick)
            events += inbox.filter { $0.at <= now }.map(\.event)
            inbox.removeAll { $0.at <= now }
            if step % 100 == 0 { try samples.store.sync() }
            while !events.isEmpty {
                let effects = dispatch.handle(events.removeFirst(), now: now)
                log += effects
                for effect in effects {
                    switch effect {
                    case .read(let target, let session, let maxBytes, let maxHints):
                        if readers[target]?.session != session {
                            readers[target] = samples.store.reader(for: target).map { (session, $0) }
                        }
                        if !isQuiet && Int.random(in: 0..<20, using: &random) == 0 {
                            events.append(.readFailed(target, session: session))
                        } else {
                            let batch = try readers[target]?.reader.next(maxBytes: maxBytes, maxHints: maxHints)
                            inbox.append(
                                (
                                    now + Int64.random(in: 0..<300_000, using: &random),
                                    .read(target, session: session, batch)
                                ))
                        }
                    case .send(let target, let batch, let hints):
                        #expect(isUp.contains(target), "seed \(seed)")
                        #expect(dispatch.inFlight(to: target) <= options.hintsInFlight, "seed \(seed)")
                        let answer = now + Int64.random(in: 0..<500_000, using: &random)
                        switch isQuiet ? 0 : Int.random(in: 0..<10, using: &random) {
                        case 1: inbox.append((answer, .failed(target, batch: batch)))
                        case 2: continue
                        case 3:
                            for hint in hints {
                                arrived[target, default: []].insert(HintSamples.number(hint.mutations))
                            }
                        default:
                            for hint in hints {
                                arrived[target, default: []].insert(HintSamples.number(hint.mutations))
                            }
                            inbox.append((answer, .delivered(target, batch: batch)))
                        }
                    case .acknowledge(let target, let session, let position):
                        if let reader = readers[target], reader.session == session {
                            reader.reader.acknowledge(upTo: position)
                        }
                    case .finished(let target): readers[target] = nil
                    }
                }
            }
        }
        samples.store.checkInvariants()
        #expect(samples.store.targets().isEmpty, "seed \(seed)")
        #expect(!dispatch.isActive, "seed \(seed)")
        #expect(arrived == added, "seed \(seed)")
        try samples.store.sync()
        #expect(try samples.names.isEmpty, "seed \(seed)")
        return log
    }

    @Test(arguments: 0..<12) func allHintsAreDelivered(seed: Int) throws { _ = try Self.simulate(seed: seed) }

    @Test func sameSeedGivesTheSameEffects() throws {
        let first = try Self.simulate(seed: 99)
        #expect(first.count > 1000)
        #expect(try Self.simulate(seed: 99) == first)
    }
}
