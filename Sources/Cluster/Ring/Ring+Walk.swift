extension Ring {
    /// The index in `tokens` where the walk for a token begins. REQUIRES: `tokens` is not empty.
    func start(of token: Int64) -> Int {
        guard let grid = partitions else { return position(of: token) }
        return position(of: grid.end(of: grid.index(of: token)))
    }

    /// All nodes that own tokens, as the walk from a token meets them, the owner first.
    public func walk(from token: Int64) -> [Int32] {
        if tokens.isEmpty { return [] }
        var seen = [Bool](repeating: false, count: nodes.count)
        var result: [Int32] = []
        let start = start(of: token)
        for step in tokens.indices {
            let owner = owners[(start + step) % tokens.count]
            if seen[Int(owner)] { continue }
            seen[Int(owner)] = true
            result.append(owner)
        }
        return result
    }
}
