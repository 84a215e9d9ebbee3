import Primitives

/// The owner of every token at one moment. Immutable: a change makes a new ring.
///
/// The request path refers to nodes by their index in `nodes`. An index is valid for this ring only.
///
/// **Invariants**: `nodes` is sorted by host id without duplicates; `tokens` is strictly ascending; `owners` has one
/// index per token.
public struct Ring: Sendable {
    /// All nodes, including those that do not own tokens yet.
    public let nodes: [RingNode]
    /// The tokens owned now, ascending.
    public let tokens: [Int64]
    /// The index in `nodes` of each token's owner.
    public let owners: [Int32]
    /// The epoch with which each token's owner claims it.
    private let epochs: [UInt32]
    /// The grid of the strategy `randomOverPartitions`, else nil. With a grid, a key's token counts as the last token
    /// of its partition.
    public let partitions: TokenGrid?

    public static let empty = Ring(nodes: [])

    /// - Parameter nodes: in any order. Of several nodes with one host id the last one counts. If two nodes claim one
    ///   token, the claim with the greater epoch wins, then the greater host id.
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

    /// Returns the index in `tokens` of the first token at or after `token`, clockwise. REQUIRES: `tokens` is not
    /// empty.
    public func position(of token: Int64) -> Int {
        let found = tokens.firstIndex(notBefore: token)
        return found == tokens.count ? 0 : found
    }

    /// Returns the range that ends in the token at `position`.
    public func range(at position: Int) -> TokenRange {
        TokenRange(after: tokens[position == 0 ? tokens.count - 1 : position - 1], through: tokens[position])
    }

    /// Returns the range that contains a token; nil when no node owns tokens.
    public func range(of token: Int64) -> TokenRange? { tokens.isEmpty ? nil : range(at: position(of: token)) }

    /// Returns the node that owns a token, its first replica under `SimpleStrategy`; nil when no node owns tokens.
    public func owner(of token: Int64) -> RingNode? { tokens.isEmpty ? nil : nodes[Int(owners[position(of: token)])] }

    /// Returns the ranges a node owns, ascending by their last token.
    public func ranges(of id: UUID) -> [TokenRange] {
        guard let index = index(of: id) else { return [] }
        return tokens.indices.filter { owners[$0] == Int32(index) }.map { range(at: $0) }
    }

    /// Returns the claims with which a node owns its tokens, ascending, without those another node's claim beats.
    public func claims(heldBy id: UUID) -> [TokenClaim] {
        guard let index = index(of: id) else { return [] }
        return tokens.indices.filter { owners[$0] == Int32(index) }.map { TokenClaim(tokens[$0], epoch: epochs[$0]) }
    }

    /// Returns the greatest epoch with which any node claims a token; 0 when none does.
    func epoch(of token: Int64) -> UInt32 {
        var greatest: UInt32 = 0
        for node in nodes {
            for claim in node.claims where claim.token == token && claim.epoch > greatest { greatest = claim.epoch }
        }
        return greatest
    }

    /// The data centers that have nodes owning tokens, ascending.
    public var dataCenters: [String] {
        var names: [String] = []
        for index in owningNodes where !names.contains(nodes[index].location.dataCenter) {
            names.append(nodes[index].location.dataCenter)
        }
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
    /// Returns the index of the first element not less than `value`, or `count` when there is none. REQUIRES: ascending
    /// elements.
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
