import DataModel

/// The restriction of one key column.
public enum KeyRestriction: Sendable {
    case equal(Term)
    case oneOf(TermList)

    /// Whether the column is restricted to a single value.
    public var isEqual: Bool { if case .equal = self { true } else { false } }
}

/// The partitions that a statement refers to.
public enum PartitionSelection: Sendable {
    /// All partitions, in token order.
    case all
    /// One restriction per partition key column, in order; the partitions are the Cartesian product.
    case keys([KeyRestriction])
    /// The partitions with tokens between the bounds. A lower bound of the minimum token excludes nothing.
    case tokenRange(lower: TokenBound?, upper: TokenBound?)
}

/// One end of a token range.
public struct TokenBound: Sendable {
    /// Of type bigint.
    public var term: Term
    public var isInclusive: Bool

    public init(term: Term, isInclusive: Bool) {
        self.term = term
        self.isInclusive = isInclusive
    }
}

/// Restrictions on a prefix of the clustering columns.
public struct ClusteringSelection: Sendable {
    /// The restriction of the next column or columns of the prefix.
    public enum Part: Sendable {
        case equal(Term)
        case oneOf(TermList)
        /// `(b, c) IN (...)`: each element is a tuple of `columnCount` columns.
        case oneOfTuples(columnCount: Int, TermList)

        public var columnCount: Int { if case .oneOfTuples(let count, _) = self { count } else { 1 } }
    }

    /// Restrictions of the first clustering columns, in order.
    public var parts: [Part]
    /// Bounds on the columns after the prefix, in the order of values, whatever the columns' stored direction. A bound
    /// with several terms compares as a tuple; its columns then all have the same stored direction.
    public var lower: ClusteringBound?
    public var upper: ClusteringBound?

    public init(parts: [Part] = [], lower: ClusteringBound? = nil, upper: ClusteringBound? = nil) {
        self.parts = parts
        self.lower = lower
        self.upper = upper
    }

    public static let all = ClusteringSelection()

    /// The number of clustering columns that `parts` covers.
    public var prefixCount: Int { parts.reduce(0) { $0 + $1.columnCount } }
    public var isAll: Bool { parts.isEmpty && lower == nil && upper == nil }
    public var hasSlice: Bool { lower != nil || upper != nil }
    /// Whether every part is an equality.
    public var isEqualOnly: Bool {
        parts.allSatisfy { if case .equal = $0 { true } else { false } }
    }
}

/// One end of a slice of clustering keys.
public struct ClusteringBound: Sendable {
    /// The values of the columns after the prefix; at least one.
    public var terms: [Term]
    public var isInclusive: Bool

    public init(terms: [Term], isInclusive: Bool) {
        self.terms = terms
        self.isInclusive = isInclusive
    }
}

/// A comparison operator.
public enum ComparisonOperator: String, Sendable, Hashable {
    case equal = "="
    case notEqual = "!="
    case less = "<"
    case lessOrEqual = "<="
    case greater = ">"
    case greaterOrEqual = ">="

    /// Whether the comparison holds, given how `left` compares to `right` (negative, zero, positive).
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

/// A condition that no key range expresses; it is checked on each row read.
public struct RowFilter: Sendable {
    public enum Demand: Sendable {
        case compare(ComparisonOperator, Term)
        case oneOf(TermList)
        /// The collection contains the element (for a map, as a value).
        case contains(Term)
        case containsKey(Term)
        /// The map entry with this key has this relation to the value.
        case entry(key: Term, ComparisonOperator, value: Term)
    }

    /// One column, or several for a tuple comparison, whose terms are then tuples.
    public var columns: [ColumnMetadata]
    public var demand: Demand

    public init(columns: [ColumnMetadata], demand: Demand) {
        self.columns = columns
        self.demand = demand
    }
}
