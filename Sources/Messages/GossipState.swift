import Primitives

/// Everything a node has said of itself in its present generation, as far as it is known here.
///
/// **Invariants**: `values` is in the order of keys, each key once.
public struct GossipState: Hashable, Sendable {
    public var heartBeat: HeartBeat
    public private(set) var values: [GossipValue]

    public init(heartBeat: HeartBeat, values: [GossipValue] = []) {
        self.heartBeat = heartBeat
        self.values = []
        for value in values { set(value) }
    }

    /// Adds the value, or replaces the one with the same key.
    public mutating func set(_ value: GossipValue) {
        if let index = values.firstIndex(where: { $0.key >= value.key }) {
            if values[index].key == value.key { values[index] = value } else { values.insert(value, at: index) }
        } else {
            values.append(value)
        }
    }

    public subscript(key: GossipKey) -> GossipValue? { values.first { $0.key == key } }

    /// The greatest version of the heart beat and of the values.
    public var maxVersion: Int64 {
        var greatest = heartBeat.version
        for value in values where value.version > greatest { greatest = value.version }
        return greatest
    }

    /// What changed after `version`: the heart beat and the newer values.
    public func delta(after version: Int64) -> GossipState {
        var result = GossipState(heartBeat: heartBeat)
        result.values = values.filter { $0.version > version }
        return result
    }

    public var status: GossipStatus? { self[.status].flatMap { GossipStatus($0.text) } }
    public var hostID: UUID? { self[.hostID].flatMap { UUID($0.text) } }

    /// Bytes of the encoding, about.
    public var estimatedBytes: Int { values.reduce(24) { $0 + $1.bytes.count + 12 } }
}
