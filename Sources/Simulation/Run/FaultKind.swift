/// A kind of fault in a simulated cluster, with the name that `--faults` takes.
public enum FaultKind: String, Sendable, CaseIterable {
    /// A machine loses power, between two events or during a disk call. Unsynced data is lost, torn or kept.
    case crash
    /// A process is killed; the machine keeps running.
    case kill
    /// A node is shut down in an orderly way and started again.
    case restart
    /// All machines lose power, or all processes are killed, within 10 ms.
    case blackout
    /// A machine pauses for a while.
    case pause
    /// Some machines receive nothing from the others, and the others nothing from them.
    case partition
    /// One direction of a link between two machines is blocked.
    case oneway
    /// A link breaks and heals repeatedly.
    case flap
    /// The links of a machine are many times slower.
    case slow
    /// Connections break, stall, or are refused.
    case breaks
    /// A wall clock is wrong by up to 0.4 seconds.
    case skew
    /// A wall clock jumps forward or back by up to 5 seconds.
    case jump
    /// Disk reads fail randomly.
    case readerrors
    /// Disk writes fail randomly.
    case writeerrors
    /// Syncs fail randomly.
    case syncerrors
    /// The disk is full for a while.
    case full
    /// The disk is slow.
    case slowdisk
    /// Reads miss the page cache, so reads that must not block fail.
    case cold
    /// A node's tables are flushed or compacted. Not a fault, but this work runs into the faults.
    case upkeep
    /// Nodes join, leave, are removed when dead, or are replaced.
    case members
    /// One bit of a file flips. Not part of `all`: with a single replica it loses data for good.
    case rot

    /// The faults that `all` stands for.
    public static let usual: [FaultKind] = allCases.filter { $0 != .rot }

    /// Parses `all`, `none`, or a list of names separated by commas.
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
