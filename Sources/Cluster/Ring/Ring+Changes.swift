import Primitives

extension Ring {
    /// Host ids of the nodes that are joining, leaving or replacing another.
    public var changing: [UUID] {
        nodes.filter { node in
            switch node.state {
            case .normal, .left: false
            default: true
            }
        }.map(\.id)
    }

    /// Returns the ring as it will be once the changes of the chosen nodes are done. The changes of other nodes have no
    /// effect yet.
    ///
    /// - Parameter finishing: whether to treat this node's change as done.
    public func after(finishing: (RingNode) -> Bool) -> Ring {
        var changed: [RingNode] = []
        var inherited: [TokenSuccessor] = []
        var replaced: [UUID] = []
        for node in nodes {
            guard finishing(node) else {
                changed.append(node)
                continue
            }
            var next = node
            switch node.state {
            case .normal, .left: break
            case .joining: next.state = .normal
            case .leaving(let heirs):
                inherited += heirs
                next.state = .left
            case .replacing(let other):
                replaced.append(other)
                next.claims = claims(heldBy: other).map { $0.successor() }
                next.state = .normal
            }
            changed.append(next)
        }
        for heir in inherited {
            guard let index = changed.firstIndex(where: { $0.id == heir.heir }), changed[index].state != .left else {
                continue
            }
            changed[index].claims.append(TokenClaim(heir.token, epoch: epoch(of: heir.token)).successor())
        }
        for id in replaced {
            if let index = changed.firstIndex(where: { $0.id == id }) { changed[index].state = .left }
        }
        return Ring(nodes: changed, partitions: partitions)
    }

    /// The ring as it will be when all changes are done.
    public var future: Ring { after { _ in true } }
}
