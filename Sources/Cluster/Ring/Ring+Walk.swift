extension Ring {
    /// Returns the index in `tokens` at which the clockwise walk for a token begins. REQUIRES: `tokens` is not empty.
    func start(of token: Int64) -> Int {
        guard let grid = partitions else { return position(of: token) }
        return position(of: grid.end(of: grid.index(of: token)))
    }

    /// Returns all nodes that own tokens in the order of the clockwise walk from a token, the token's owner first.
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
