import Glibc

/// Whole files and descriptors, for what a person names.
enum FileText {
    /// The message of the last failed call.
    static var lastError: String {
        guard let text = strerror(errno) else { return "error \(errno)" }
        return String(cString: text)
    }

    /// `~` at the beginning is the home directory.
    static func expanded(_ path: String) -> String {
        guard path == "~" || path.hasPrefix("~/"), let home = getenv("HOME") else { return path }
        return String(cString: home) + path.dropFirst()
    }

    /// Opens for reading; throws what went wrong, with the path.
    static func openForReading(_ path: String) throws(ShellError) -> Int32 {
        let descriptor = open(expanded(path), O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .command("Could not open '\(path)': \(lastError)") }
        return descriptor
    }

    /// Makes a file or empties it; with `appends`, keeps what it holds.
    static func openForWriting(_ path: String, appends: Bool = false) throws(ShellError) -> Int32 {
        let descriptor = open(expanded(path), O_WRONLY | O_CREAT | O_CLOEXEC | (appends ? O_APPEND : O_TRUNC), 0o600)
        guard descriptor >= 0 else { throw .command("Could not open '\(path)' for writing: \(lastError)") }
        return descriptor
    }

    /// Up to `limit` bytes; empty at the end.
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

    /// False when not all could be written.
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
