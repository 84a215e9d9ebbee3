/// What one writer did to one place, version after version, and what readers may see of it.
///
/// 1. The writer gives each write the next version, which is also its timestamp, so that the last one counts whatever the clocks say.
/// 2. A read must see a version that was begun, and none older than the newest that was acknowledged, or seen, before the read was called.
public struct VersionedHistory: Sendable {
    /// What is there after each version; nil: nothing. Version 0 is before the first.
    private var states: [Int?] = [nil]
    /// No later read may see an older version.
    private(set) var floor = 0
    private var events: [String] = []
    private let name: String

    /// Lines of history kept.
    static let keptEvents = 200

    public init(name: String) { self.name = name }

    /// Versions begun.
    public var last: Int { states.count - 1 }

    /// A write begins.
    /// - Returns: its version.
    public mutating func begin(_ state: Int?) -> Int {
        states.append(state)
        return last
    }

    /// The value that a write with the next version may put: its version.
    public var nextValue: Int { states.count }

    /// Notes what became of a write.
    public mutating func ended(_ version: Int, isAcknowledged: Bool, called: UInt64, now: UInt64) {
        if isAcknowledged { floor = max(floor, version) }
        let what = states[version].map { "value \($0)" } ?? "deletion"
        note("version \(version) (\(what)) \(isAcknowledged ? "acknowledged" : "of unknown outcome")", called, now)
    }

    /// Checks what a read saw that was called when `floor` was what it says.
    /// - Returns: what was violated.
    public mutating func saw(_ seen: Int?, floor before: Int, called: UInt64, now: UInt64) -> Violation? {
        note("read \(seen.map(String.init) ?? "nothing")", called, now)
        for version in before..<states.count where states[version] == seen {
            floor = max(floor, version)
            return nil
        }
        let expected = states[before].map { "value \($0)" } ?? "nothing"
        let old = (0..<before).last { states[$0] == seen }
        let why =
            old.map { "that was version \($0), and version \(before) (\(expected)) was acknowledged or seen before" } ?? "nobody wrote that"
        return Violation("\(name): a read saw \(seen.map { "value \($0)" } ?? "nothing"); \(why)", history: relevant(from: old ?? before))
    }

    private mutating func note(_ text: String, _ called: UInt64, _ now: UInt64) {
        let span = SimulationLog.seconds(called).drop { $0 == " " } + "..." + SimulationLog.seconds(now).drop { $0 == " " }
        events.append("\(span) \(text)")
        if events.count > VersionedHistory.keptEvents { events.removeFirst(VersionedHistory.keptEvents / 2) }
    }

    private func relevant(from version: Int) -> [String] { Array(events.suffix(14)) }
}
