/// A promise that was not kept.
public struct Violation: Sendable, CustomStringConvertible {
    /// What was to hold, and did not.
    public var promise: String
    /// What happened, as short as it shows it.
    public var history: [String]

    public init(_ promise: String, history: [String] = []) {
        self.promise = promise
        self.history = history
    }

    public var description: String { ([promise] + history.map { "    " + $0 }).joined(separator: "\n") }
}
