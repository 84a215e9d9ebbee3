import Platform
import Storage

/// Why a node does not start.
public enum NodeError: Error, CustomStringConvertible {
    case file(FileError)
    case storage(StorageError)
    case network(NetworkError)
    case schema(String)
    /// The data directory belongs to something else.
    case identity(String)

    public var description: String {
        switch self {
        case .file(let error): error.description
        case .storage(let error): error.description
        case .network(let error): error.description
        case .schema(let what), .identity(let what): what
        }
    }
}
