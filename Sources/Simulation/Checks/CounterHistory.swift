/// The additions to one counter.
///
/// A read must see at least what was acknowledged before it was called, and at most what was attempted when it returns.
public struct CounterHistory: Sendable {
    private let name: String
    public private(set) var acknowledged = 0
    public private(set) var attempted = 0

    public init(name: String) { self.name = name }

    public mutating func begin(_ amount: Int) { attempted += amount }
    public mutating func acknowledge(_ amount: Int) { acknowledged += amount }
    /// Removes an addition that certainly did not happen.
    public mutating func takeBack(_ amount: Int) { attempted -= amount }

    /// - Parameter floor: the value of `acknowledged` when the read was called.
    /// - Returns: a violation, if the read saw an impossible value.
    public func saw(_ value: Int, floor: Int) -> Violation? {
        if (floor...max(floor, attempted)).contains(value) { return nil }
        return Violation("\(name): a read saw \(value); \(floor) was acknowledged, and \(attempted) attempted")
    }
}
