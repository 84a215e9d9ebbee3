import Messages
import Primitives

/// What a node does before it gossips: asks the seeds what they know, without saying anything of itself.
///
/// 1. A node that is the only seed, or whose seed list is empty, founds the cluster at once.
/// 2. Otherwise it asks every seed each second. A node that is in its own shadow round answers that it knows nothing.
/// 3. When one seed has told all that it knows, the round is over: the node joins.
/// 4. When no seed that knows anything has answered for `patience`: a seed founds the cluster if it comes first, by endpoint, of the
///    seeds that have answered; it waits longer if it does not. A node that is no seed fails after `timeout`.
public struct ShadowRound: Sendable {
    public let configuration: GossipConfiguration
    /// Microseconds a seed waits for others before it founds the cluster.
    public let patience: Int64
    /// Microseconds after which a node gives up.
    public let timeout: Int64
    public private(set) var outcome: ShadowOutcome?
    private var began: Int64?
    private var heard: [GossipEntry] = []
    private var awaited: [Endpoint] = []
    /// Seeds that answered that they know nothing, and when last.
    private var waiting: [(seed: Endpoint, at: Int64)] = []

    public init(configuration: GossipConfiguration, patience: Int64 = 5_000_000, timeout: Int64 = 30_000_000) {
        self.configuration = configuration
        self.patience = patience
        self.timeout = max(timeout, patience)
    }

    private var others: [Endpoint] { configuration.seeds.filter { $0 != configuration.endpoint } }
    private var isSeed: Bool { configuration.seeds.contains(configuration.endpoint) || configuration.seeds.isEmpty }

    /// Whether no seed before this one waits too, as far as was heard of late.
    private func comesFirst(now: Int64) -> Bool {
        waiting.allSatisfy { $0.seed > configuration.endpoint || now - $0.at >= patience }
    }

    /// To be called once a second until there is an outcome. - Parameter now: monotonic microseconds.
    public mutating func tick(now: Int64) -> [GossipEffect] {
        guard outcome == nil else { return [] }
        let start = began ?? now
        began = start
        if others.isEmpty {
            outcome = .founded
            return []
        }
        if isSeed, now - start >= patience, awaited.isEmpty, comesFirst(now: now) {
            outcome = .founded
            return []
        }
        if now - start >= timeout {
            outcome = .failed(.noAnswer(seeds: others))
            return []
        }
        let question = GossipMessage.shadowSyn(clusterName: configuration.clusterName, partitioner: configuration.partitioner)
        return others.map { .send(question, to: $0) }
    }

    /// - Parameter now: monotonic microseconds.
    public mutating func receive(_ message: GossipMessage, from sender: Endpoint, now: Int64) -> [GossipEffect] {
        switch message {
        case .shadowSyn(let clusterName, let partitioner):
            guard clusterName == configuration.clusterName, partitioner == configuration.partitioner else {
                return [.send(.refused(clusterName: configuration.clusterName, partitioner: configuration.partitioner), to: sender)]
            }
            return [.send(.ack(wanted: [], states: []), to: sender)]
        case .refused(let clusterName, let partitioner):
            guard outcome == nil else { return [] }
            let refusal: GossipRefusal =
                clusterName != configuration.clusterName
                ? .clusterNameMismatch(sender, theirs: clusterName, ours: configuration.clusterName)
                : .partitionerMismatch(sender, theirs: partitioner, ours: configuration.partitioner)
            outcome = .failed(.refused(refusal))
        case .ack(let everyone, let states):
            guard outcome == nil else { return [] }
            if everyone.isEmpty && states.isEmpty {
                waiting.removeAll { $0.seed == sender }
                if others.contains(sender) { waiting.append((sender, now)) }
            } else {
                take(states, everyone: everyone.map(\.endpoint))
            }
        case .syn, .ack2: break
        }
        return []
    }

    private mutating func take(_ states: [GossipEntry], everyone: [Endpoint]) {
        for entry in states {
            if let index = heard.firstIndex(where: { $0.endpoint == entry.endpoint }) {
                if entry.state.heartBeat > heard[index].state.heartBeat { heard[index] = entry }
            } else {
                heard.append(entry)
            }
        }
        awaited = Array(Set(awaited).union(everyone)).sorted()
        let arrived = Set(heard.map(\.endpoint))
        guard awaited.allSatisfy({ arrived.contains($0) }) else { return }
        heard.sort { $0.endpoint < $1.endpoint }
        outcome = .met(
            ShadowAnswer(
                states: heard,
                ownGeneration: heard.first { $0.endpoint == configuration.endpoint }?.state.heartBeat.generation,
                sameHostID: heard.first {
                    $0.endpoint != configuration.endpoint && $0.state.hostID == configuration.hostID && !($0.state.status?.isGone ?? false)
                }?.endpoint))
    }
}
