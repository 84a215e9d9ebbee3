import Glibc

/// Reads and writes whole files and file descriptors.
enum FileText {
    /// The system's message for the last failed call.
    static var lastError: String {
        guard let text = strerror(errno) else { return "error \(errno)" }
        return String(cString: text)
    }

    /// Replaces a leading `~` by the home directory.
    static func expanded(_ path: String) -> String {
        guard path == "~" || path.hasPrefix("~/"), let home = getenv("HOME") else { return path }
        return String(cString: home) + path.dropFirst()
    }

    /// Opens a file for reading.
    /// - Throws: `ShellError` with the path and the reason.
    static func openForReading(_ path: String) throws(ShellError) -> Int32 {
        let descriptor = open(expanded(path), O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .command("Could not open '\(path)': \(lastError)") }
        return descriptor
    }

    /// Creates or truncates a file for writing; with `appends`, keeps its content.
    static func openForWriting(_ path: String, appends: Bool = false) throws(ShellError) -> Int32 {
        let descriptor = open(expanded(path), O_WRONLY | O_CREAT | O_CLOEXEC | (appends ? O_APPEND : O_TRUNC), 0o600)
        guard descriptor >= 0 else { throw .command("Could not open '\(path)' for writing: \(lastError)") }
        return descriptor
    }

    /// Reads up to `limit` bytes; returns none at the end, or on an error.
    static func read(_ descriptor: Int32, limit: Int = 1 << 20) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: limit) { room, count in
            while true {
                let got = Glibc.read(descriptor, room.baseAddress, limit)
                if got < 0 && errno == EINTR { continue }
                count = max(0, got)
                return
            }
        }
    }

    /// Writes all bytes; returns false when that fails.
    static func write(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
        bytes.withUnsafeBytes { raw in
            var written = 0
            while written < raw.count {
                let count = Glibc.write(descriptor, raw.baseAddress.map { $0 + written }, raw.count - written)
                if count < 0 && errno == EINTR { continue }
                if count <= 0 { return false }
                written += count
            }
            return true
        }
    }
}
