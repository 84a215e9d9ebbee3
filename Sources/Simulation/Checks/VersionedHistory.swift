/// The writes of a single writer to one row or register, and what readers may see of them.
///
/// 1. The writer gives each write the next version, which is also its timestamp, so that the last one wins whatever the
///    clocks say.
/// 2. A read must see a version that was begun, and none older than the newest one acknowledged or seen before the read
///    was called.
public struct VersionedHistory: Sendable {
    /// The value after each version; nil: no value. Version 0 is the state before the first write.
    private var states: [Int?] = [nil]
    /// The oldest version that later reads may see.
    private(set) var floor = 0
    private var events: [String] = []
    private let name: String

    /// The number of history lines kept.
    static let keptEvents = 200

    public init(name: String) { self.name = name }

    /// The last version begun.
    public var last: Int { states.count - 1 }

    /// Begins a write.
    /// - Returns: its version.
    public mutating func begin(_ state: Int?) -> Int {
        states.append(state)
        return last
    }

    /// The value to write with the next version: the version itself, so that values are unique.
    public var nextValue: Int { states.count }

    /// Records the outcome of a write.
    public mutating func ended(_ version: Int, isAcknowledged: Bool, called: UInt64, now: UInt64) {
        if isAcknowledged { floor = max(floor, version) }
        let what = states[version].map { "value \($0)" } ?? "deletion"
        note("version \(version) (\(what)) \(isAcknowledged ? "acknowledged" : "of unknown outcome")", called, now)
    }

    /// Checks the value a read saw. `before` is the value of `floor` when the read was called.
    /// - Returns: a violation, if the read saw an impossible value.
    public mutating func saw(_ seen: Int?, floor before: Int, called: UInt64, now: UInt64) -> Violation? {
        note("read \(seen.map(String.init) ?? "nothing")", called, now)
        for version in before..<states.count where states[version] == seen {
            floor = max(floor, version)
            return nil
        }
        let expected = states[before].map { "value \($0)" } ?? "nothing"
        let old = (0..<before).last { states[$0] == seen }
        let why =
            old.map { "that was version \($0), and version \(before) (\(expected)) was acknowledged or seen before" }
            ?? "no write has that value"
        return Violation(
            "\(name): a read saw \(seen.map { "value \($0)" } ?? "nothing"); \(why)",
            history: relevant(from: old ?? before))
    }

    private mutating func note(_ text: String, _ called: UInt64, _ now: UInt64) {
        let span =
            SimulationLog.seconds(called).drop { $0 == " " } + "..." + SimulationLog.seconds(now).drop { $0 == " " }
        events.append("\(span) \(text)")
        if events.count > VersionedHistory.keptEvents { events.removeFirst(VersionedHistory.keptEvents / 2) }
    }

    private func relevant(from version: Int) -> [String] { Array(events.suffix(14)) }
}
