/// An event of the engine's background work, for the server's log.
public enum EngineEvent: Sendable {
    case flushed(directory: String, rows: Int, bytes: Int, milliseconds: Int)
    case compacted(directory: String, reason: String, inputs: Int, bytesBefore: Int, bytesAfter: Int, milliseconds: Int)
    /// The files of a directory that belongs to no table of the schema were removed.
    case removedLeftover(directory: String, hasSnapshots: Bool)
    case failed(String)

    /// The event as one log line.
    public var text: String {
        switch self {
        case .flushed(let directory, let rows, let bytes, let milliseconds):
            "flushed \(rows) rows of \(directory) into \(bytes) bytes in \(milliseconds) ms"
        case .compacted(let directory, let reason, let inputs, let before, let after, let milliseconds):
            "compacted \(inputs) files of \(directory) (\(reason)) from \(before) to \(after) bytes in \(milliseconds) ms"
        case .removedLeftover(let directory, let hasSnapshots):
            "removed \(directory)\(hasSnapshots ? " except its snapshots" : ""), which belonged to no table of the schema"
        case .failed(let what): what
        }
    }
}
