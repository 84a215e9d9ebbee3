import Glibc

/// Runs each seed in its own process, so that a trap or a hang is recognized, and the memory and threads of crashed
/// nodes go away with it.
public enum SeedProcess {
    /// How a process ended.
    public enum End: Sendable, Equatable {
        case exited(Int32)
        /// It trapped or was killed.
        case died(signal: Int32)
        case hung
        case notStarted(reason: String)
    }

    /// The environment variable that makes Swift's hashing deterministic.
    static let variable = "SWIFT_DETERMINISTIC_HASHING"

    /// Restarts this program with deterministic hashing, so that the order of hash tables cannot make two runs differ.
    /// - Returns: nil in the restarted process; otherwise why it could not restart.
    public static func beginAnew() -> String? {
        if getenv(variable) != nil { return nil }
        setenv(variable, "1", 1)
        withWords(CommandLine.arguments) { _ = execv("/proc/self/exe", $0) }
        return String(cString: strerror(errno))
    }

    /// Runs this program with other arguments, the first of which is its name, and waits until it ends.
    /// - Parameter secondsLimit: real seconds after which the process is killed.
    public static func run(_ arguments: [String], secondsLimit: Int) -> End {
        setenv(variable, "1", 1)
        fflush(nil)
        var child: pid_t = 0
        var error: Int32 = 0
        withWords(arguments) { error = posix_spawn(&child, "/proc/self/exe", nil, nil, $0, environ) }
        guard error == 0 else { return .notStarted(reason: String(cString: strerror(error))) }
        var waited = 0
        while true {
            var status: Int32 = 0
            if waitpid(child, &status, WNOHANG) == child {
                let signal = status & 0x7f
                return signal == 0 ? .exited((status >> 8) & 0xff) : .died(signal: signal)
            }
            if waited >= secondsLimit * 100 {
                kill(child, SIGKILL)
                waitpid(child, &status, 0)
                return .hung
            }
            usleep(10_000)
            waited += 1
        }
    }

    /// SAFETY: the copies live until `body` returns.
    private static func withWords(_ arguments: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> Void) {
        let words = arguments.map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        body(words)
    }
}
