/// What cannot be understood in a file that says where nodes stand.
public struct SnitchError: Error, Hashable, CustomStringConvertible {
    /// Counted from 1; 0: the file as a whole.
    public let line: Int
    public let reason: String

    public init(line: Int, reason: String) {
        self.line = line
        self.reason = reason
    }

    public var description: String { line == 0 ? reason : "line \(line): \(reason)" }
}
