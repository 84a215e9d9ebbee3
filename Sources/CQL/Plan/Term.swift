import DataModel

/// A value that is known once the bind markers are bound: everything in a plan except columns.
public struct Term: Sendable {
    /// The type of the value.
    public let type: CQLType
    public let node: Node

    public indirect enum Node: Sendable {
        case null
        /// Native bytes, already validated.
        case constant([UInt8])
        /// A bind marker by index; its value is validated against the type in each execution.
        case bind(Int)
        /// Elements of a list in order, or fields of a tuple, where a missing one is null.
        case list([Term])
        /// Sorted and deduplicated when evaluated.
        case set([Term])
        case map([(key: Term, value: Term)])
        case tuple([Term])
        case call(ScalarFunction, [Term])
        /// A call of a function that gives another value each time (`now()`, `uuid()`), made once a request. The number
        /// tells the calls of a statement apart.
        case generated(Int, ScalarFunction)
        /// One field of a tuple value, as in `(a, b) = ?`.
        case field(Term, Int)
        /// A member of a JSON document, as in `INSERT INTO t JSON ?`; `table` defines the allowed names.
        case jsonField(document: Term, name: String, absentIsUnset: Bool, table: TableMetadata)
    }

    public init(type: CQLType, node: Node) {
        self.type = type
        self.node = node
    }

    public static func constant(_ bytes: [UInt8], _ type: CQLType) -> Term { Term(type: type, node: .constant(bytes)) }
    public static func bind(_ index: Int, _ type: CQLType) -> Term { Term(type: type, node: .bind(index)) }
    public static func null(_ type: CQLType) -> Term { Term(type: type, node: .null) }

    /// The index of the bind marker, if the term is one.
    public var bindIndex: Int? { if case .bind(let index) = node { index } else { nil } }
    /// The bytes, if the term is a constant.
    public var constantBytes: [UInt8]? { if case .constant(let bytes) = node { bytes } else { nil } }
}

/// The right side of an IN relation.
public enum TermList: Sendable {
    case terms([Term])
    /// One bind marker for the whole list; the term's type is `list<T>`.
    case bound(Term)
}

/// The kind of value that a term evaluated to.
public enum ValuePresence: Sendable, Equatable {
    case value
    case null
    /// The bind marker was unset: the statement behaves as if the column were not mentioned.
    case unset
}
