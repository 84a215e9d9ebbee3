import Glibc
import Synchronization

/// Writes log lines for operators to standard error.
public enum NodeLog {
    /// Writes one line immediately.
    public static func line(_ text: String) {
        var line = text + "\n"
        line.withUTF8 { bytes in
            var rest = UnsafeRawBufferPointer(bytes)
            while let start = rest.baseAddress, !rest.isEmpty {
                let count = write(2, start, rest.count)
                if count <= 0 { return }
                rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            }
        }
    }
}

/// Formats log lines for slow requests, with a limit per second, so that logging does not add to the load of a slow
/// disk.
///
/// **Thread safety**: any thread.
final class SlowRequestLog: Sendable {
    private struct State {
        var second: Int64 = 0
        var told = 0
        var untold = 0
    }

    private let state = Mutex(State())
    static let linesPerSecond = 10

    /// - Parameter second: the current time in seconds, of any clock.
    /// - Returns: the line to write; nil when this second's limit is reached.
    func line(_ statement: String, milliseconds: Int, second: Int64) -> String? {
        state.withLock { state in
            if state.second != second {
                state.second = second
                state.told = 0
            }
            guard state.told < SlowRequestLog.linesPerSecond else {
                state.untold += 1
                return nil
            }
            state.told += 1
            let left = state.untold > 0 ? " (\(state.untold) more were slow before it)" : ""
            state.untold = 0
            // Keep it on one line, whatever the statement contains.
            let flat = statement.map { $0.isNewline ? " " : String($0) }.joined()
            return "slow request, \(milliseconds) ms: \(flat)\(left)"
        }
    }
}
