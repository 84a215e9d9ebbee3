/// Invalid content of a file that gives node locations.
public struct SnitchError: Error, Hashable, CustomStringConvertible {
    /// The line number from 1; 0 means the whole file.
    public let line: Int
    public let reason: String

    public init(line: Int, reason: String) {
        self.line = line
        self.reason = reason
    }

    public var description: String { line == 0 ? reason : "line \(line): \(reason)" }
}
