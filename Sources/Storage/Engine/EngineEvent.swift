/// What the engine did in the background, for the server's log.
public enum EngineEvent: Sendable {
    case flushed(directory: String, rows: Int, bytes: Int, milliseconds: Int)
    case compacted(directory: String, reason: String, inputs: Int, bytesBefore: Int, bytesAfter: Int, milliseconds: Int)
    case failed(String)

    /// One line.
    public var text: String {
        switch self {
        case .flushed(let directory, let rows, let bytes, let milliseconds):
            "flushed \(rows) rows of \(directory) into \(bytes) bytes in \(milliseconds) ms"
        case .compacted(let directory, let reason, let inputs, let before, let after, let milliseconds):
            "compacted \(inputs) files of \(directory) (\(reason)) from \(before) to \(after) bytes in \(milliseconds) ms"
        case .failed(let what): what
        }
    }
}
