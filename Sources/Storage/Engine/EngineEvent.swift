/// What the engine did in the background, for the server's log.
public enum EngineEvent: Sendable {
    case flushed(directory: String, rows: Int, bytes: Int, milliseconds: Int)
    case compacted(directory: String, reason: String, inputs: Int, bytesBefore: Int, bytesAfter: Int, milliseconds: Int)
    /// Files in the directory of a table that is gone.
    case removedLeftover(directory: String, hasSnapshots: Bool)
    case failed(String)

    /// One line.
    public var text: String {
        switch self {
        case .flushed(let directory, let rows, let bytes, let milliseconds):
            "flushed \(rows) rows of \(directory) into \(bytes) bytes in \(milliseconds) ms"
        case .compacted(let directory, let reason, let inputs, let before, let after, let milliseconds):
            "compacted \(inputs) files of \(directory) (\(reason)) from \(before) to \(after) bytes in \(milliseconds) ms"
        case .removedLeftover(let directory, let hasSnapshots):
            "removed \(directory)\(hasSnapshots ? ", all but its snapshots" : ""), which no table of the schema owns"
        case .failed(let what): what
        }
    }
}
