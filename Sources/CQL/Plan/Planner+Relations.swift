import DataModel

/// The resolved relation on one column, or on a tuple of columns.
struct ColumnRestriction {
    enum Kind {
        case equal(Term)
        case oneOf(TermList)
        case slice(ComparisonOperator, Term)
        /// A restriction that can only be checked on each row.
        case filter(RowFilter.Demand)
    }

    /// More than one column for a tuple relation, whose terms are then tuples.
    var columns: [ColumnMetadata]
    var kind: Kind

    var isTuple: Bool { columns.count > 1 }

    /// The same relation as a filter on rows.
    var rowFilter: RowFilter {
        let demand: RowFilter.Demand =
            switch kind {
            case .equal(let term): .compare(.equal, term)
            case .oneOf(let list): .oneOf(list)
            case .slice(let comparison, let term): .compare(comparison, term)
            case .filter(let demand): demand
            }
        return RowFilter(columns: columns, demand: demand)
    }
}

/// The validated relations of a WHERE clause.
struct CheckedRelations {
    var demands: [ColumnRestriction] = []
    var token: (lower: TokenBound?, upper: TokenBound?)?
}

extension Planner {
    /// Resolves the relations, and checks each alone and together with others on the same column.
    mutating func check(_ relations: [Relation], in table: TableMetadata, verb: String) throws(ServerError)
        -> CheckedRelations
    {
        var checked = CheckedRelations()
        for relation in relations { try add(relation, to: &checked, table, verb) }
        try refuseContradictions(checked, table)
        return checked
    }

    private mutating func add(
        _ relation: Relation, to checked: inout CheckedRelations, _ table: TableMetadata, _ verb: String
    ) throws(ServerError) {
        switch relation {
        case .compare(let name, let comparison, let expression):
            let column = try Self.column(name, in: table)
            if comparison == .notEqual { throw .invalid("Unsupported \"!=\" relation: \(name) != \(expression.text)") }
            try refuseMultiCell(column, comparison.rawValue)
            if comparison != .equal, column.type.containsDuration {
                throw .invalid("Slice restrictions are not supported on duration columns")
            }
            let term = try term(expression, for: Receiver(column, in: table))
            checked.demands.append(
                ColumnRestriction(
                    columns: [column], kind: comparison == .equal ? .equal(term) : .slice(comparison, term)))
        case .oneOf(let name, let values):
            let column = try Self.column(name, in: table)
            try refuseMultiCell(column, "IN")
            checked.demands.append(
                ColumnRestriction(columns: [column], kind: try oneOf(values, Receiver(column, in: table))))
        case .contains(let name, let expression):
            let column = try Self.column(name, in: table)
            let element: CQLType
            switch column.type.unfrozen {
            case .list(let type), .set(let type), .map(_, let type): element = type
            default: throw .invalid("Cannot use CONTAINS on non-collection column \(name)")
            }
            let term = try term(
                expression, for: Receiver(column, in: table).with(name: "value(\(name))", type: element))
            checked.demands.append(ColumnRestriction(columns: [column], kind: .filter(.contains(term))))
        case .containsKey(let name, let expression):
            let column = try Self.column(name, in: table)
            guard case .map(let key, _) = column.type.unfrozen else {
                throw .invalid("Cannot use CONTAINS KEY on non-map column \(name)")
            }
            let term = try term(expression, for: Receiver(column, in: table).with(name: "key(\(name))", type: key))
            checked.demands.append(ColumnRestriction(columns: [column], kind: .filter(.containsKey(term))))
        case .entry(let name, let key, let comparison, let expression):
            try addEntry(name, key, comparison, expression, to: &checked, table)
        case .like(let name, let pattern):
            throw .invalid(
                "LIKE restriction is only supported on properly indexed columns. \(name) LIKE \(pattern.text) is not valid."
            )
        case .isNotNull(let name): throw .invalid("Unsupported restriction: \(name) IS NOT NULL")
        case .compareTuple(let names, let comparison, let expression):
            try addTuple(names, comparison, expression, to: &checked, table)
        case .tupleOneOf(let names, let values):
            let columns = try tupleColumns(names, table)
            if columns.count == 1 {
                guard case .list(let elements) = values else {
                    throw .invalid("IN ? on a tuple of one column: write \(names[0]) IN ? instead")
                }
                let single = elements.map { element -> Expression in
                    if case .tuple(let parts) = element, parts.count == 1 { parts[0] } else { element }
                }
                checked.demands.append(
                    ColumnRestriction(columns: columns, kind: try oneOf(.list(single), Receiver(columns[0], in: table)))
                )
                return
            }
            let receiver = Receiver(columns[0], in: table).with(
                name: "(\(names.joined(separator: ",")))", type: .tuple(columns.map { $0.type.asFrozen }))
            if case .list(let elements) = values {
                for element in elements { try checkTupleLength(element, columns) }
            }
            checked.demands.append(
                ColumnRestriction(columns: columns, kind: try oneOf(values, receiver, isTuple: true)))
        case .token(let names, let comparison, let expression):
            try addToken(names, comparison, expression, to: &checked, table, verb)
        }
    }

    private func refuseMultiCell(_ column: ColumnMetadata, _ symbol: String) throws(ServerError) {
        if column.type.isMultiCell {
            throw .invalid(
                "Collection column '\(column.name)' (\(column.type)) cannot be restricted by a '\(symbol)' relation")
        }
    }

    private mutating func oneOf(
        _ values: Relation.Values, _ receiver: Receiver, isTuple: Bool = false
    ) throws(ServerError) -> ColumnRestriction.Kind {
        switch values {
        case .marker(let expression):
            let name = isTuple ? "in\(receiver.name)" : "in(\(receiver.name))"
            let list = receiver.with(name: name, type: .list(receiver.type.asFrozen))
            return .oneOf(.bound(try term(expression, for: list)))
        case .list(let expressions):
            var terms: [Term] = []
            for expression in expressions { terms.append(try term(expression, for: receiver)) }
            return terms.count == 1 && !isTuple ? .equal(terms[0]) : .oneOf(.terms(terms))
        }
    }

    private mutating func addEntry(
        _ name: String, _ key: Expression, _ comparison: ComparisonOperator, _ expression: Expression,
        to checked: inout CheckedRelations,
        _ table: TableMetadata
    ) throws(ServerError) {
        let column = try Self.column(name, in: table)
        guard case .map(let keyType, let valueType) = column.type.unfrozen else {
            throw .invalid("Column \(name) cannot be used as a map")
        }
        guard column.type.isMultiCell else {
            throw .invalid("Map-entry equality predicates on frozen map column \(name) are not supported")
        }
        guard comparison == .equal else { throw .invalid("Only EQ relations are supported on map entries") }
        let receiver = Receiver(column, in: table)
        let keyTerm = try term(key, for: receiver.with(name: "key(\(name))", type: keyType))
        let valueTerm = try term(expression, for: receiver.with(name: "value(\(name))", type: valueType))
        checked.demands.append(
            ColumnRestriction(columns: [column], kind: .filter(.entry(key: keyTerm, comparison, value: valueTerm))))
    }

    // MARK: Tuples

    private func tupleColumns(_ names: [String], _ table: TableMetadata) throws(ServerError) -> [ColumnMetadata] {
        var columns: [ColumnMetadata] = []
        for name in names {
            let column = try Self.column(name, in: table)
            guard column.kind == .clustering else {
                throw .invalid(
                    "Multi-column relations can only be applied to clustering columns but was applied to: \(name)")
            }
            if columns.contains(column) {
                throw .invalid("Column \"\(name)\" appeared twice in a relation: (\(names.joined(separator: ", ")))")
            }
            if let last = columns.last, column.position != last.position + 1 {
                throw .invalid(
                    "Clustering columns must appear in the PRIMARY KEY order in multi-column relations: (\(names.joined(separator: ", ")))"
                )
            }
            columns.append(column)
        }
        return columns
    }

    private func checkTupleLength(_ expression: Expression, _ columns: [ColumnMetadata]) throws(ServerError) {
        guard case .tuple(let elements) = expression, elements.count != columns.count else { return }
        throw .invalid(
            "Expected \(columns.count) elements in value tuple, but got \(elements.count): \(expression.text)")
    }

    private mutating func addTuple(
        _ names: [String], _ comparison: ComparisonOperator, _ expression: Expression,
        to checked: inout CheckedRelations,
        _ table: TableMetadata
    ) throws(ServerError) {
        let columns = try tupleColumns(names, table)
        if comparison == .notEqual {
            throw .invalid("Unsupported \"!=\" relation: (\(names.joined(separator: ", "))) != \(expression.text)")
        }
        try checkTupleLength(expression, columns)
        if columns.count == 1 {
            let term = try term(expression, for: Receiver(columns[0], in: table))
            checked.demands.append(
                ColumnRestriction(
                    columns: columns, kind: comparison == .equal ? .equal(term) : .slice(comparison, term)))
            return
        }
        // The fields of a tuple literal are terms of their own; those of a bind marker are taken from the bound tuple.
        let fields: [Term]
        if case .tuple(let elements) = expression {
            var terms: [Term] = []
            for (element, column) in zip(elements, columns) {
                terms.append(try term(element, for: Receiver(column, in: table)))
            }
            fields = terms
        } else {
            let type = CQLType.tuple(columns.map { $0.type.asFrozen })
            let receiver = Receiver(columns[0], in: table).with(name: "(\(names.joined(separator: ",")))", type: type)
            let whole = try term(expression, for: receiver)
            fields = columns.enumerated().map { Term(type: $1.type, node: .field(whole, $0)) }
        }
        if comparison == .equal {
            for (column, field) in zip(columns, fields) {
                checked.demands.append(ColumnRestriction(columns: [column], kind: .equal(field)))
            }
        } else {
            let tuple = Term(type: .tuple(columns.map { $0.type.asFrozen }), node: .tuple(fields))
            checked.demands.append(ColumnRestriction(columns: columns, kind: .slice(comparison, tuple)))
        }
    }

    // MARK: token()

    private mutating func addToken(
        _ names: [String], _ comparison: ComparisonOperator, _ expression: Expression,
        to checked: inout CheckedRelations,
        _ table: TableMetadata, _ verb: String
    ) throws(ServerError) {
        if verb != "SELECT" {
            throw .invalid("The token function cannot be used in WHERE clauses for \(verb) statements")
        }
        for name in names {
            let column = try Self.column(name, in: table)
            guard column.kind == .partitionKey else {
                throw .invalid("The token() function is only supported on the partition key, found \(name)")
            }
        }
        guard names == table.partitionKey.map(\.name) else {
            throw .invalid(
                "The token function arguments must be in the partition key order: \(table.partitionKey.map(\.name).joined(separator: ", "))"
            )
        }
        tokenTable = table
        let receiver = Receiver(keyspace: table.keyspace, table: table.name, name: "partition key token", type: .bigint)
        let term = try term(expression, for: receiver)
        var bounds = checked.token ?? (nil, nil)
        let joined = names.joined(separator: ", ")
        if comparison == .equal || comparison == .greater || comparison == .greaterOrEqual {
            if bounds.lower != nil {
                throw .invalid("More than one restriction was found for the start bound on \(joined)")
            }
            bounds.lower = TokenBound(term: term, isInclusive: comparison != .greater)
        }
        if comparison == .equal || comparison == .less || comparison == .lessOrEqual {
            if bounds.upper != nil {
                throw .invalid("More than one restriction was found for the end bound on \(joined)")
            }
            bounds.upper = TokenBound(term: term, isInclusive: comparison != .less)
        }
        if comparison == .notEqual {
            throw .invalid("Unsupported \"!=\" relation: token(\(joined)) != \(expression.text)")
        }
        checked.token = bounds
    }

    // MARK: Several relations on one column

    private func refuseContradictions(_ checked: CheckedRelations, _ table: TableMetadata) throws(ServerError) {
        var byColumn: [String: [ColumnRestriction]] = [:]
        for demand in checked.demands {
            for column in demand.columns { byColumn[column.name, default: []].append(demand) }
        }
        for column in table.columns {
            guard let demands = byColumn[column.name], demands.count > 1 else { continue }
            var hasLower = false
            var hasUpper = false
            for demand in demands {
                switch demand.kind {
                case .equal:
                    throw .invalid(
                        "\(column.name) cannot be restricted by more than one relation if it includes an Equal")
                case .oneOf:
                    throw .invalid("\(column.name) cannot be restricted by more than one relation if it includes a IN")
                case .slice(let comparison, _):
                    if demands.contains(where: {
                        $0.isTuple != demand.isTuple || $0.isTuple && $0.columns != demand.columns
                    }) {
                        throw .invalid(
                            "Column \"\(column.name)\" cannot be restricted by two inequalities not starting with the same column"
                        )
                    }
                    let isLower = comparison == .greater || comparison == .greaterOrEqual
                    if isLower ? hasLower : hasUpper {
                        throw .invalid(
                            "More than one restriction was found for the \(isLower ? "start" : "end") bound on \(column.name)"
                        )
                    }
                    if isLower { hasLower = true } else { hasUpper = true }
                case .filter: break
                }
            }
        }
        if checked.token != nil,
            let column = checked.demands.flatMap(\.columns).first(where: { $0.kind == .partitionKey })
        {
            throw .invalid(
                "Columns \"\(column.name)\" cannot be restricted by both a normal relation and a token relation")
        }
    }
}
