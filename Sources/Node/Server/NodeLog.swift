import Glibc
import Synchronization

/// Lines on standard error: what an operator should see.
public enum NodeLog {
    /// Writes one line, at once.
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

/// Reports slow requests, a few a second at most, so that a slow disk is not made slower by talking about it.
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

    /// - Parameter second: now, in seconds of any clock.
    /// - Returns: the line to write; nil when enough were written this second.
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
            // One line, whatever the statement holds.
            let flat = statement.map { $0.isNewline ? " " : String($0) }.joined()
            return "slow request, \(milliseconds) ms: \(flat)\(left)"
        }
    }
}
