/// What can go wrong in a simulated cluster, by the name `--faults` takes.
public enum FaultKind: String, Sendable, CaseIterable {
    /// A machine loses its power, between two events or within a call of its disk: what was not synced is lost, torn or kept.
    case crash
    /// A process is killed; the machine runs on.
    case kill
    /// A node is stopped in order and started again.
    case restart
    /// All machines lose their power, or their processes are killed, within a moment.
    case blackout
    /// A machine stands still for a while.
    case pause
    /// Some machines hear nothing of the others.
    case partition
    /// A machine hears of another, which hears nothing of it.
    case oneway
    /// A link breaks and heals again and again.
    case flap
    /// Links take many times longer.
    case slow
    /// Connections break, stall, or are refused.
    case breaks
    /// Wall clocks are wrong by up to half a second.
    case skew
    /// Wall clocks jump, forward or back, by seconds.
    case jump
    /// Reads of the disk fail now and then.
    case readerrors
    /// Writes fail now and then.
    case writeerrors
    /// Syncs fail now and then.
    case syncerrors
    /// The disk is full for a while.
    case full
    /// The disk is slow.
    case slowdisk
    /// What is read is not in memory.
    case cold
    /// Somebody flushes or compacts the tables of a node. No fault, but its work meets those.
    case upkeep
    /// Nodes join, leave, are removed when they are dead, or replaced.
    case members
    /// A bit of a file turns. Not among `all`: with one copy, an answer is lost for good.
    case rot

    /// What `all` stands for.
    public static let usual: [FaultKind] = allCases.filter { $0 != .rot }

    /// Those of `all`, `none`, or a list of names, separated by commas.
    /// - Returns: nil when a name is unknown.
    public static func parse(_ text: String) -> [FaultKind]? {
        switch text {
        case "all": return usual
        case "none": return []
        default:
            let names = text.split(separator: ",").map { FaultKind(rawValue: String($0)) }
            return names.contains(nil) ? nil : names.compactMap { $0 }
        }
    }
}
