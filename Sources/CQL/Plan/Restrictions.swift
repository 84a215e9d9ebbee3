import DataModel

/// What one key column must be.
public enum KeyRestriction: Sendable {
    case equal(Term)
    case oneOf(TermList)

    /// Whether there is exactly one value.
    public var isEqual: Bool { if case .equal = self { true } else { false } }
}

/// Which partitions a statement touches.
public enum PartitionSelection: Sendable {
    /// All partitions, in token order.
    case all
    /// One restriction for each partition key column, in order; the partitions are their product.
    case keys([KeyRestriction])
    /// The partitions whose token lies between the bounds. A lower bound of the minimum token excludes nothing.
    case tokenRange(lower: TokenBound?, upper: TokenBound?)
}

/// A side of a token range.
public struct TokenBound: Sendable {
    /// Of type bigint.
    public var term: Term
    public var isInclusive: Bool

    public init(term: Term, isInclusive: Bool) {
        self.term = term
        self.isInclusive = isInclusive
    }
}

/// Restrictions on the clustering columns that form a prefix of them.
public struct ClusteringSelection: Sendable {
    /// What is demanded of the next column, or columns, of the prefix.
    public enum Part: Sendable {
        case equal(Term)
        case oneOf(TermList)
        /// `(b, c) IN (...)`: each element is a tuple of `columnCount` columns.
        case oneOfTuples(columnCount: Int, TermList)

        public var columnCount: Int { if case .oneOfTuples(let count, _) = self { count } else { 1 } }
    }

    /// Restrictions of the first clustering columns, in order.
    public var parts: [Part]
    /// Bounds of the columns that follow the prefix. In the order of the values, whatever the column's stored direction:
    /// a bound of several terms compares as a tuple, and then all its columns are stored in the same direction.
    public var lower: ClusteringBound?
    public var upper: ClusteringBound?

    public init(parts: [Part] = [], lower: ClusteringBound? = nil, upper: ClusteringBound? = nil) {
        self.parts = parts
        self.lower = lower
        self.upper = upper
    }

    public static let all = ClusteringSelection()

    /// How many clustering columns `parts` covers.
    public var prefixCount: Int { parts.reduce(0) { $0 + $1.columnCount } }
    public var isAll: Bool { parts.isEmpty && lower == nil && upper == nil }
    public var hasSlice: Bool { lower != nil || upper != nil }
    /// Whether every part is an equality.
    public var isEqualOnly: Bool {
        parts.allSatisfy { if case .equal = $0 { true } else { false } }
    }
}

/// A side of a slice of clustering keys.
public struct ClusteringBound: Sendable {
    /// Values of the columns after the prefix, at least one.
    public var terms: [Term]
    public var isInclusive: Bool

    public init(terms: [Term], isInclusive: Bool) {
        self.terms = terms
        self.isInclusive = isInclusive
    }
}

/// How two values are compared.
public enum ComparisonOperator: String, Sendable, Hashable {
    case equal = "="
    case notEqual = "!="
    case less = "<"
    case lessOrEqual = "<="
    case greater = ">"
    case greaterOrEqual = ">="

    /// Whether an order of `left` before, at or after `right` (negative, zero, positive) fulfils it.
    @inlinable public func holds(_ order: Int) -> Bool {
        switch self {
        case .equal: order == 0
        case .notEqual: order != 0
        case .less: order < 0
        case .lessOrEqual: order <= 0
        case .greater: order > 0
        case .greaterOrEqual: order >= 0
        }
    }
}

/// A demand on rows that no key range expresses, checked on each row read.
public struct RowFilter: Sendable {
    public enum Demand: Sendable {
        case compare(ComparisonOperator, Term)
        case oneOf(TermList)
        /// The collection holds the element (for a map: as a value).
        case contains(Term)
        case containsKey(Term)
        /// The map has this value under this key.
        case entry(key: Term, ComparisonOperator, value: Term)
    }

    /// One column; several for a comparison of tuples, whose terms are then tuples.
    public var columns: [ColumnMetadata]
    public var demand: Demand

    public init(columns: [ColumnMetadata], demand: Demand) {
        self.columns = columns
        self.demand = demand
    }
}
