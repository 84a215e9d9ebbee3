import Primitives

/// The state of a node in its current generation, as far as this node knows it.
///
/// **Invariants**: `values` is sorted by key, each key once.
public struct GossipState: Hashable, Sendable {
    public var heartBeat: HeartBeat
    public private(set) var values: [GossipValue]

    public init(heartBeat: HeartBeat, values: [GossipValue] = []) {
        self.heartBeat = heartBeat
        self.values = []
        for value in values { set(value) }
    }

    /// Adds the value or replaces the one with the same key.
    public mutating func set(_ value: GossipValue) {
        if let index = values.firstIndex(where: { $0.key >= value.key }) {
            if values[index].key == value.key { values[index] = value } else { values.insert(value, at: index) }
        } else {
            values.append(value)
        }
    }

    public subscript(key: GossipKey) -> GossipValue? { values.first { $0.key == key } }

    /// The greatest version of the heartbeat and the values.
    public var maxVersion: Int64 {
        var greatest = heartBeat.version
        for value in values where value.version > greatest { greatest = value.version }
        return greatest
    }

    /// Returns what changed after `version`: the heartbeat and the newer values.
    public func delta(after version: Int64) -> GossipState {
        var result = GossipState(heartBeat: heartBeat)
        result.values = values.filter { $0.version > version }
        return result
    }

    public var status: GossipStatus? { self[.status].flatMap { GossipStatus($0.text) } }
    public var hostID: UUID? { self[.hostID].flatMap { UUID($0.text) } }

    /// The approximate size of the encoding in bytes.
    public var estimatedBytes: Int { values.reduce(24) { $0 + $1.bytes.count + 12 } }
}
