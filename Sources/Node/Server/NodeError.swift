import Platform
import Storage

/// The reason why a node does not start.
public enum NodeError: Error, CustomStringConvertible {
    case file(FileError)
    case storage(StorageError)
    case network(NetworkError)
    case schema(String)
    /// The data directory belongs to another cluster or is damaged.
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
