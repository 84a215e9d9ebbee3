/// The result of one change under one token strategy.
public struct RingSimulationRow: Hashable, Sendable {
    public enum Change: String, Hashable, Sendable { case join, leave }

    public let strategy: TokenStrategy
    public let change: Change
    /// Nodes before the change.
    public let nodes: Int
    public let racks: Int
    public let replicationFactor: Int
    /// Bytes on the fullest node divided by the mean: 1 is even.
    public let skewBefore: Double
    public let skewAfter: Double
    /// Bytes streamed divided by all bytes the cluster stores.
    public let moved: Double

    /// The least possible `moved`: what the newcomer will hold, or what the leaver held. If there are no more nodes
    /// than replicas, a newcomer needs a copy of everything and a leaver moves nothing.
    public var leastMoved: Double {
        let copies = Double(min(replicationFactor, nodes))
        switch change {
        case .join: return replicationFactor > nodes ? 1 / copies : 1 / Double(nodes + 1)
        case .leave: return replicationFactor >= nodes ? 0 : 1 / Double(nodes)
        }
    }

    private var cells: [String] {
        [
            strategy.description, "\(nodes)", "\(racks)", "\(replicationFactor)", change.rawValue,
            RingSimulationRow.decimal(skewBefore, 3),
            RingSimulationRow.decimal(skewAfter, 3), RingSimulationRow.decimal(moved * 100, 2),
            RingSimulationRow.decimal(leastMoved * 100, 2),
        ]
    }

    /// Returns a table for people: aligned columns, one header, no trailing spaces.
    public static func render(_ rows: [RingSimulationRow]) -> String {
        let header = ["strategy", "nodes", "racks", "rf", "change", "skew before", "skew after", "moved %", "least %"]
        let lines = [header] + rows.map(\.cells)
        let widths = header.indices.map { column in lines.map { $0[column].utf8.count }.max() ?? 0 }
        return lines.map { line in
            line.enumerated().map { column, cell in
                let fill = String(repeating: " ", count: widths[column] - cell.utf8.count)
                return column == 0 || column == 4 ? cell + fill : fill + cell
            }.joined(separator: "  ")
        }.joined(separator: "\n") + "\n"
    }

    /// Returns `value`, which must be at least 0, rounded to `digits` digits after the point.
    static func decimal(_ value: Double, _ digits: Int) -> String {
        let scale = (0..<digits).reduce(1) { scale, _ in scale * 10 }
        guard value.isFinite, value >= 0, value < 1e12 else { return "-" }
        let scaled = Int((value * Double(scale)).rounded())
        let fraction = "\(scaled % scale)"
        return "\(scaled / scale)." + String(repeating: "0", count: digits - fraction.count) + fraction
    }
}
