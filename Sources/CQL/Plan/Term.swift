import DataModel

/// A value that is known once the markers are bound: everything in a plan that is no column.
public struct Term: Sendable {
    /// The type that the value has, in native-protocol bytes.
    public let type: CQLType
    public let node: Node

    public indirect enum Node: Sendable {
        case null
        /// Native bytes that have been checked already.
        case constant([UInt8])
        /// The marker of this index; its value is checked against the type at each execution.
        case bind(Int)
        /// Elements in order, of a list (or a tuple's fields, where an absent one is null).
        case list([Term])
        /// Sorted and freed of duplicates when evaluated.
        case set([Term])
        case map([(key: Term, value: Term)])
        case tuple([Term])
        case call(ScalarFunction, [Term])
        /// A call of a function that gives another value each time (`now()`, `uuid()`), made once a request. The number tells the calls of a statement apart.
        case generated(Int, ScalarFunction)
        /// One field of a tuple value, as in `(a, b) = ?`.
        case field(Term, Int)
        /// The value of a key of a JSON document, as in `INSERT INTO t JSON ?`; `table` says which keys there may be.
        case jsonField(document: Term, name: String, absentIsUnset: Bool, table: TableMetadata)
    }

    public init(type: CQLType, node: Node) {
        self.type = type
        self.node = node
    }

    public static func constant(_ bytes: [UInt8], _ type: CQLType) -> Term { Term(type: type, node: .constant(bytes)) }
    public static func bind(_ index: Int, _ type: CQLType) -> Term { Term(type: type, node: .bind(index)) }
    public static func null(_ type: CQLType) -> Term { Term(type: type, node: .null) }

    /// The marker, when the term is one.
    public var bindIndex: Int? { if case .bind(let index) = node { index } else { nil } }
    /// The bytes, when the term is a constant.
    public var constantBytes: [UInt8]? { if case .constant(let bytes) = node { bytes } else { nil } }
    public var isNull: Bool { if case .null = node { true } else { false } }
}

/// The right side of an IN.
public enum TermList: Sendable {
    case terms([Term])
    /// One marker bound to the whole list: a term of type `list<T>`.
    case bound(Term)
}

/// What an evaluated term turned out to be.
public enum ValuePresence: Sendable, Equatable {
    case value
    case null
    /// The marker was bound to "not set": the statement behaves as if the column were not mentioned.
    case unset
}
