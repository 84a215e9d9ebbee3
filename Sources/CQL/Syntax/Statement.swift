import DataModel

/// A parsed statement.
public enum Statement: Sendable {
    case select(SelectStatement)
    case modification(ModificationStatement)
    case batch(BatchStatement)
    case use(String)
    case truncate(QualifiedName)
    case createKeyspace(name: String, ifNotExists: Bool, properties: [Property])
    case alterKeyspace(name: String, ifExists: Bool, properties: [Property])
    case dropKeyspace(name: String, ifExists: Bool)
    case createTable(CreateTableStatement)
    case alterTable(AlterTableStatement)
    case dropTable(QualifiedName, ifExists: Bool)
    case describe(DescribeStatement)
    /// A valid statement for a feature this server does not have; answered with an error.
    case refused(UnsupportedStatement)
}

/// A parsed statement and its bind markers.
public struct ParsedStatement: Sendable {
    public let statement: Statement
    /// The name of each bind marker; nil for `?`.
    public let markers: [String?]
}

/// A name with or without its keyspace.
public struct QualifiedName: Sendable, Hashable {
    public var keyspace: String?
    public var name: String

    public var text: String { (keyspace.map { $0 + "." } ?? "") + name }
}

/// `name = value` after WITH.
public struct Property: Sendable {
    public var name: String
    public var value: PropertyValue
}

/// A relation of a WHERE clause.
public enum Relation: Sendable {
    public enum Values: Sendable {
        case list([Expression])
        /// `IN ?`.
        case marker(Expression)
    }

    case compare(column: String, ComparisonOperator, Expression)
    case oneOf(column: String, Values)
    case contains(column: String, Expression)
    case containsKey(column: String, Expression)
    case entry(column: String, key: Expression, ComparisonOperator, Expression)
    case like(column: String, Expression)
    case isNotNull(column: String)
    /// `(a, b) > (1, 2)`.
    case compareTuple(columns: [String], ComparisonOperator, Expression)
    case tupleOneOf(columns: [String], Values)
    /// `token(a, b) > x`.
    case token(columns: [String], ComparisonOperator, Expression)
}

public struct SelectStatement: Sendable {
    public struct Item: Sendable {
        public var expression: Expression
        public var alias: String?
    }

    public var table: QualifiedName
    /// Nil for `SELECT *`.
    public var items: [Item]?
    public var isJSON = false
    public var isDistinct = false
    public var relations: [Relation] = []
    public var groupBy: [Expression] = []
    public var orderBy: [(column: String, isDescending: Bool)] = []
    public var limit: Expression?
    public var perPartitionLimit: Expression?
    public var allowsFiltering = false
}

public struct ModificationStatement: Sendable {
    /// An assignment to a column.
    public enum Assignment: Sendable {
        /// `c = value`, `c = c + value`, `c = value + c`.
        case set(column: String, Expression)
        /// `c += value` and `c -= value`.
        case add(column: String, Expression)
        case subtract(column: String, Expression)
        case element(column: String, key: Expression, Expression)
        case field(column: String, name: String, Expression)
    }

    public enum Deletion: Sendable {
        case column(String)
        case element(column: String, key: Expression)
        case field(column: String, name: String)
    }

    public struct JSON: Sendable {
        public var document: Expression
        public var absentIsUnset: Bool
    }

    public enum Body: Sendable {
        case insert(columns: [String], values: [Expression])
        case insertJSON(JSON)
        case update([Assignment])
        case delete([Deletion])
    }

    public enum IfClause: Sendable {
        case none
        case notExists
        case exists
        case conditions([ConditionClause])
    }

    public var table: QualifiedName
    public var body: Body
    public var relations: [Relation] = []
    public var timestamp: Expression?
    public var timeToLive: Expression?
    public var condition = IfClause.none
}

/// One `IF column ...` condition.
public struct ConditionClause: Sendable {
    public var column: String
    public var key: Expression?
    public var field: String?
    public var comparison: ComparisonOperator?
    /// Set together with `comparison`.
    public var value: Expression?
    /// Set for IN, without `comparison`.
    public var values: Relation.Values?
}

public struct BatchStatement: Sendable {
    public var kind: BatchPlan.Kind
    public var timestamp: Expression?
    public var statements: [ModificationStatement]
}

public struct CreateTableStatement: Sendable {
    public struct Column: Sendable {
        public var name: String
        public var type: TypeName
        public var isStatic: Bool
    }

    public var table: QualifiedName
    public var ifNotExists = false
    public var columns: [Column] = []
    /// Every PRIMARY KEY, inline or not; more than one is an error.
    public var primaryKeys: [(partition: [String], clustering: [String])] = []
    public var properties: [Property] = []
    public var clusteringOrder: [(column: String, isDescending: Bool)] = []
    public var isCompactStorage = false
}

public struct AlterTableStatement: Sendable {
    public enum Change: Sendable {
        case add([CreateTableStatement.Column], ifNotExists: Bool)
        case drop([String], ifExists: Bool)
        case rename([(from: String, to: String)], ifExists: Bool)
        case alterType(column: String)
        case dropCompactStorage
        case properties([Property])
    }

    public var table: QualifiedName
    public var ifExists: Bool
    public var change: Change
}

public struct DescribeStatement: Sendable {
    public var subject: DescribePlan.Subject
    public var withInternals: Bool
}

/// A valid CQL statement for a feature this server does not have.
public struct UnsupportedStatement: Sendable {
    /// The error code of a Cassandra node with that feature disabled.
    public var code: ServerError.Code
    public var message: String
}
