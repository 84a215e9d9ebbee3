import Primitives

extension Ring {
    /// A change that is under way: a node that joins, leaves, moves or replaces another.
    public var changing: [UUID] {
        nodes.filter { node in
            switch node.state {
            case .normal, .left: false
            default: true
            }
        }.map(\.id)
    }

    /// The ring as it will be when the changes of the chosen nodes are done and those of the others have not begun to count.
    ///
    /// - Parameter finishing: of which node's change to assume that it is done.
    public func after(finishing: (RingNode) -> Bool) -> Ring {
        var changed: [RingNode] = []
        var inherited: [TokenHeir] = []
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
            case .moving(let target):
                next.claims = target
                next.state = .normal
            case .replacing(let other):
                replaced.append(other)
                next.claims = claims(heldBy: other).map { $0.successor() }
                next.state = .normal
            }
            changed.append(next)
        }
        for heir in inherited {
            guard let index = changed.firstIndex(where: { $0.id == heir.heir }), changed[index].state != .left else { continue }
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
