/// A line of a topology file that says nothing that can be understood.
public struct SnitchError: Error, Hashable, CustomStringConvertible {
    /// Counted from 1.
    public let line: Int
    public let reason: String

    public init(line: Int, reason: String) {
        self.line = line
        self.reason = reason
    }

    public var description: String { "line \(line): \(reason)" }
}
