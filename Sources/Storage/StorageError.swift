import Compression
import DataModel
import Platform
import Primitives

/// What the storage engine could not do.
public enum StorageError: Error, Sendable, CustomStringConvertible {
    /// The file system failed.
    case file(FileError)
    /// A file holds something else than was written: where, what was expected and what was found.
    case damaged(path: String, offset: Int, String)
    /// A file was written by another version of the server, in a format this one does not read.
    case unknownVersion(path: String, found: UInt32, known: UInt32)
    /// The engine does not know the table.
    case unknownTable(UUID)
    /// More is waiting to be flushed than memory is set aside for.
    case overloaded(String)
    /// A mutation that is not one, or is larger than the limit.
    case badMutation(String)
    /// The engine was closed, or stopped itself after the disk failed.
    case stopped(String)

    public var description: String {
        switch self {
        case .file(let error): error.description
        case .damaged(let path, let offset, let what):
            "\(path) is damaged at byte \(offset): \(what); restore the file from a snapshot or a copy"
        case .unknownVersion(let path, let found, let known):
            "\(path) has version \(found) of the format, and this server reads version \(known); use the server that wrote it"
        case .unknownTable(let id): "no table has the id \(id)"
        case .overloaded(let why): why
        case .badMutation(let why): why
        case .stopped(let why): why
        }
    }
}
