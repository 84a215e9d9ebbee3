import Compression
import DataModel
import Platform
import Primitives

/// An error of the storage engine.
public enum StorageError: Error, Sendable, CustomStringConvertible {
    /// The file system failed.
    case file(FileError)
    /// A file does not hold what was written to it: its path, the offset, and what is wrong there.
    case damaged(path: String, offset: Int, String)
    /// A file was written by another version of the server, in a format this one does not read.
    case unknownVersion(path: String, found: UInt32, known: UInt32)
    /// No table with this id is open.
    case unknownTable(UUID)
    /// The memory for memtables is used up, or the disk is too full for a compaction.
    case overloaded(String)
    /// A mutation that does not parse, or is larger than the limit.
    case badMutation(String)
    /// The engine was closed, or the commit log stopped after a failed sync.
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
