import Messages
import Primitives

/// Asks the seeds for their state before this node starts to gossip, without revealing any state of its own.
///
/// 1. A node that is the only seed, or whose seed list is empty, founds the cluster at once.
/// 2. Otherwise it asks every seed each second. A seed that is in its own shadow round answers with an empty state.
/// 3. When one seed has sent everything it knows, the round ends and the node joins.
/// 4. When no seed with any state has answered for `patience`, the seed with the lowest endpoint among those that
///    answered founds the cluster; the other seeds keep waiting. A node that is not a seed fails after `timeout`.
public struct ShadowRound: Sendable {
    public let configuration: GossipConfiguration
    /// How long a seed waits for other seeds before it founds the cluster, in microseconds.
    public let patience: Int64
    /// When a node gives up, in microseconds.
    public let timeout: Int64
    public private(set) var outcome: ShadowOutcome?
    private var began: Int64?
    private var heard: [GossipEntry] = []
    private var awaited: [Endpoint] = []
    /// Seeds that answered with an empty state, and when they last did.
    private var waiting: [(seed: Endpoint, at: Int64)] = []

    public init(configuration: GossipConfiguration, patience: Int64 = 5_000_000, timeout: Int64 = 30_000_000) {
        self.configuration = configuration
        self.patience = patience
        self.timeout = max(timeout, patience)
    }

    private var others: [Endpoint] { configuration.seeds.filter { $0 != configuration.endpoint } }
    private var isSeed: Bool { configuration.seeds.contains(configuration.endpoint) || configuration.seeds.isEmpty }

    /// Returns whether no seed with a lower endpoint has answered with an empty state within `patience`.
    private func comesFirst(now: Int64) -> Bool {
        waiting.allSatisfy { $0.seed > configuration.endpoint || now - $0.at >= patience }
    }

    /// Sends the questions. Call it once a second until there is an outcome. - Parameter now: monotonic microseconds.
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
        let question = GossipMessage.shadowSyn(
            clusterName: configuration.clusterName, partitioner: configuration.partitioner)
        return others.map { .send(question, to: $0) }
    }

    /// - Parameter now: monotonic microseconds.
    public mutating func receive(_ message: GossipMessage, from sender: Endpoint, now: Int64) -> [GossipEffect] {
        switch message {
        case .shadowSyn(let clusterName, let partitioner):
            guard clusterName == configuration.clusterName, partitioner == configuration.partitioner else {
                return [
                    .send(
                        .refused(clusterName: configuration.clusterName, partitioner: configuration.partitioner),
                        to: sender)
                ]
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
                    $0.endpoint != configuration.endpoint && $0.state.hostID == configuration.hostID
                        && !($0.state.status?.isGone ?? false)
                }?.endpoint))
    }
}
