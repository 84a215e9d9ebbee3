import Glibc

/// A failed file operation: the operation, the path, the reason.
public struct FileError: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Reason: Sendable, Equatable {
        case notFound
        case alreadyExists
        case noSpace
        case permissionDenied
        /// Another process holds the lock; its process id, if known.
        case locked(by: Int32?)
        /// Any other failure, with errno.
        case failed(errno: Int32)
    }

    /// The operation: `open`, `read`, `write`, `sync`, ...
    public var operation: String
    public var path: String
    public var reason: Reason

    public init(_ operation: String, path: String, reason: Reason) {
        self.operation = operation
        self.path = path
        self.reason = reason
    }

    public var description: String {
        let why: String
        switch reason {
        case .notFound: why = "no such file or directory"
        case .alreadyExists: why = "it exists already"
        case .noSpace: why = "no space left on the device; free some or move the data directory"
        case .permissionDenied: why = "permission denied; the data directory must belong to the user the server runs as"
        case .locked(let pid): why = "in use by another process" + (pid.map { " (pid \($0))" } ?? "")
        case .failed(let number): why = "\(String(cString: strerror(number))) (error \(number))"
        }
        return "cannot \(operation) \(path): \(why)"
    }
}
