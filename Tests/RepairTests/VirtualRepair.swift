import Cluster
import DataModel
import Messages
import ModelReplica
import Primitives

@testable import Repair

/// A repair session over model replicas and a network that loses and delays. The seed determines everything.
final class VirtualRepair {
    private struct Event {
        let time: Int64
        let order: Int
        let action: () -> Void
    }

    var replicas: [ModelReplica]
    var random: SeededRandom
    /// The probability that a request or a reply is lost; half of the losses are reported.
    var loss = 0.0
    var now: Int64 = 0
    /// Nodes that do not answer.
    var dead: Set<Int> = []
    /// The number of requests sent, by kind.
    var sent: [PeerRequest.Verb: Int] = [:]
    /// Called before each request is executed.
    var onRequest: ((_ node: Int, PeerRequest) -> Void)?
    var lastProgress = RepairProgress()
    var progressCount = 0
    /// The largest number of requests in flight at once.
    var mostInFlight = 0
    private var inFlight = 0
    private var events: [Event] = []
    private var order = 0

    init(_ count: Int, seed: UInt64) {
        replicas = (0..<count).map { _ in ModelReplica() }
        random = SeededRandom(seed: seed)
    }

    private func chance(_ probability: Double) -> Bool {
        probability > 0 && Double(random.next() >> 11) / Double(1 << 53) < probability
    }

    func at(_ time: Int64, _ action: @escaping () -> Void) {
        events.append(Event(time: max(time, now), order: order, action: action))
        order += 1
    }

    private static func copy<T>(_ encode: (inout ByteWriter) -> Void, _ read: (inout ByteReader) throws(ByteError) -> T)
        -> T
    {
        var out = ByteWriter()
        encode(&out)
        do throws(ByteError) {
            return try out.toArray().withReader { (reader) throws(ByteError) in try read(&reader) }
        } catch {
            preconditionFailure("a message does not parse: \(error)")
        }
    }

    /// Runs a session until it ends, or until `stops` returns true after an event.
    /// - Returns: the report; nil when it was stopped.
    func run(
        _ session: inout RepairSession, told: [(after: Int64, RepairEvent)] = [],
        stops: (RepairSession) -> Bool = { _ in false }
    ) -> RepairReport? {
        var waiting: [RepairEvent] = [.begin]
        var report: RepairReport?
        events = []
        inFlight = 0
        for (after, event) in told { at(now + after) { waiting.append(event) } }
        while true {
            while !waiting.isEmpty {
                for effect in session.handle(waiting.removeFirst(), now: now) {
                    switch effect {
                    case .send(let number, let to, let request, _):
                        send(request, to: Int(to.low) - 1) { waiting.append(.reply(request: number, $0)) }
                    case .progress(let progress):
                        // Encoded and decoded, as it would be stored.
                        do { lastProgress = try RepairProgress(progress.encode()) } catch {
                            preconditionFailure("\(error)")
                        }
                        progressCount += 1
                    case .finished(let what): report = what
                    }
                }
                if stops(session) { return nil }
            }
            if let report {
                precondition(
                    session.isFinished && session.nextDeadline == nil && session.piecesLeft == 0, "not at its end")
                return report
            }
            let next = events.min { ($0.time, $0.order) < ($1.time, $1.order) }
            let deadline = session.nextDeadline ?? .max
            guard let next, next.time <= deadline else {
                precondition(deadline < .max, "a repair waits for nothing")
                now = deadline
                waiting.append(.tick)
                continue
            }
            events.removeAll { $0.order == next.order }
            now = next.time
            next.action()
        }
    }

    private func delay() -> Int64 { 100 + Int64(random.next() % 2_000) * (chance(0.02) ? 1_000 : 1) }

    private func send(_ request: PeerRequest, to index: Int, _ reply: @escaping (PeerReply) -> Void) {
        sent[request.verb, default: 0] += 1
        inFlight += 1
        mostInFlight = max(mostInFlight, inFlight)
        func lost() {
            if chance(0.5) { at(now + delay()) { reply(.failed(.connectionLost, "lost")) } }
        }
        at(now + delay()) { [self] in
            inFlight -= 1
            onRequest?(index, request)
            if dead.contains(index) { return }
            if chance(loss) { return lost() }
            let request = VirtualRepair.copy(request.encode, PeerRequest.init(from:))
            let answer = replicas[index].handle(request)
            if chance(loss) { return lost() }
            at(now + delay()) { reply(VirtualRepair.copy(answer.encode, PeerReply.init(from:))) }
        }
    }
}
