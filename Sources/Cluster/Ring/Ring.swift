import Primitives

/// Which node owns which token, at one moment. Immutable: a change makes a new ring.
///
/// A node is named by its index in `nodes` everywhere on the request path; an index means nothing in another ring.
///
/// **Invariants**: `nodes` is in the order of host ids, each once; `tokens` ascends strictly; `owners` has an index for each token.
public struct Ring: Sendable {
    /// All nodes, also those that do not own tokens yet.
    public let nodes: [RingNode]
    /// The tokens owned now, ascending.
    public let tokens: [Int64]
    /// The index in `nodes` of each token's owner.
    public let owners: [Int32]
    /// The epoch with which each token's owner claims it.
    private let epochs: [UInt32]
    /// With the strategy of random tokens over Q equal partitions: Q. A key's token then counts as the last one of its partition.
    public let partitions: TokenGrid?

    public static let empty = Ring(nodes: [])

    /// - Parameter nodes: in any order. Of several with one host id the last counts. Of two that claim one token the greater epoch
    ///   counts, then the greater host id.
    public init(nodes: [RingNode], partitions: TokenGrid? = nil) {
        var sorted: [RingNode] = []
        sorted.reserveCapacity(nodes.count)
        for (_, node) in nodes.enumerated().sorted(by: { ($0.element.id, $0.offset) < ($1.element.id, $1.offset) }) {
            if sorted.last?.id == node.id { sorted[sorted.count - 1] = node } else { sorted.append(node) }
        }
        var claims: [(claim: TokenClaim, node: Int32)] = []
        for (index, node) in sorted.enumerated() where node.state.owns {
            for claim in node.claims { claims.append((claim, Int32(index))) }
        }
        claims.sort { ($0.claim, $0.node) < ($1.claim, $1.node) }
        var tokens: [Int64] = []
        var owners: [Int32] = []
        var epochs: [UInt32] = []
        tokens.reserveCapacity(claims.count)
        owners.reserveCapacity(claims.count)
        for (claim, node) in claims {
            if tokens.last == claim.token {
                owners[owners.count - 1] = node
                epochs[epochs.count - 1] = claim.epoch
            } else {
                tokens.append(claim.token)
                owners.append(node)
                epochs.append(claim.epoch)
            }
        }
        self.nodes = sorted
        self.tokens = tokens
        self.owners = owners
        self.epochs = epochs
        self.partitions = partitions
    }

    /// The index of the node with this host id.
    public func index(of id: UUID) -> Int? {
        var low = 0
        var high = nodes.count
        while low < high {
            let middle = (low + high) / 2
            if nodes[middle].id < id { low = middle + 1 } else { high = middle }
        }
        return low < nodes.count && nodes[low].id == id ? low : nil
    }

    /// The index in `tokens` of the first token at or after `token`, clockwise. REQUIRES: `tokens` is not empty.
    public func position(of token: Int64) -> Int {
        let found = tokens.firstIndex(notBefore: token)
        return found == tokens.count ? 0 : found
    }

    /// The range that ends in the token at `position`.
    public func range(at position: Int) -> TokenRange {
        TokenRange(after: tokens[position == 0 ? tokens.count - 1 : position - 1], through: tokens[position])
    }

    /// The range a token lies in; nil when nobody owns anything.
    public func range(of token: Int64) -> TokenRange? { tokens.isEmpty ? nil : range(at: position(of: token)) }

    /// The node that owns a token, its first replica under `SimpleStrategy`; nil when nobody owns anything.
    public func owner(of token: Int64) -> RingNode? { tokens.isEmpty ? nil : nodes[Int(owners[position(of: token)])] }

    /// The ranges a node owns, ascending by their last token.
    public func ranges(of id: UUID) -> [TokenRange] {
        guard let index = index(of: id) else { return [] }
        return tokens.indices.filter { owners[$0] == Int32(index) }.map { range(at: $0) }
    }

    /// The claims a node holds now, ascending: those of its claims that nobody holds with a greater epoch. What else it claims it
    /// should claim no longer.
    public func claims(heldBy id: UUID) -> [TokenClaim] {
        guard let index = index(of: id) else { return [] }
        return tokens.indices.filter { owners[$0] == Int32(index) }.map { TokenClaim(tokens[$0], epoch: epochs[$0]) }
    }

    /// The greatest epoch with which anybody claims a token; 0 when nobody does.
    func epoch(of token: Int64) -> UInt32 {
        var greatest: UInt32 = 0
        for node in nodes { for claim in node.claims where claim.token == token && claim.epoch > greatest { greatest = claim.epoch } }
        return greatest
    }

    /// The data centers with nodes that own tokens, ascending.
    public var dataCenters: [String] {
        var names: [String] = []
        for index in owningNodes where !names.contains(nodes[index].location.dataCenter) { names.append(nodes[index].location.dataCenter) }
        return names.sorted()
    }

    /// Indexes of the nodes that own at least one token, ascending.
    public var owningNodes: [Int] {
        var owning = [Bool](repeating: false, count: nodes.count)
        for owner in owners { owning[Int(owner)] = true }
        return nodes.indices.filter { owning[$0] }
    }
}

extension Array where Element == Int64 {
    /// The index of the first element not less than `value`, `count` when there is none. REQUIRES: ascending.
    @inlinable func firstIndex(notBefore value: Int64) -> Int {
        withUnsafeBufferPointer { elements in
            var base = 0
            var length = elements.count
            while length > 0 {
                let half = length / 2
                let goRight = elements[base + half] < value
                base = goRight ? base + half + 1 : base
                length = goRight ? length - half - 1 : half
            }
            return base
        }
    }
}
