/// A broken guarantee.
public struct Violation: Sendable, CustomStringConvertible {
    /// What happened, against which guarantee.
    public var promise: String
    /// The events that show it, as few as possible.
    public var history: [String]

    public init(_ promise: String, history: [String] = []) {
        self.promise = promise
        self.history = history
    }

    public var description: String { ([promise] + history.map { "    " + $0 }).joined(separator: "\n") }
}
