import Messages

extension Gossiper {
    /// Returns everything known, for `admin gossipinfo`: one paragraph per node, by endpoint.
    ///
    /// - Parameter now: monotonic microseconds.
    public func describe(now: Int64) -> String {
        var lines: [String] = []
        for endpoint in (order + [configuration.endpoint]).sorted() {
            guard let state = state(of: endpoint) else { continue }
            let pulse = endpoint == configuration.endpoint ? "this node" : isAlive(endpoint) ? "up" : "down"
            lines.append("\(endpoint) (\(pulse))")
            lines.append("  generation \(state.heartBeat.generation), heart beat \(state.heartBeat.version)")
            for value in state.values {
                lines.append("  \(value.key): \(value.text) (version \(value.version))")
            }
            if let why = explain(endpoint, now: now) { lines.append("  \(why)") }
        }
        for endpoint in quarantineOrder { lines.append("\(endpoint) (quarantined)") }
        return lines.joined(separator: "\n") + "\n"
    }
}
