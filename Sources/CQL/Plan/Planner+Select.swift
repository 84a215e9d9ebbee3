import DataModel

extension Planner {
    mutating func select(_ statement: SelectStatement) throws(ServerError) -> SelectPlan {
        let table = try table(statement.table)
        // Bind markers get their types in the order in which they are resolved; the selection comes first.
        let parts = try resolveItems(statement, table)
        let onlyPartitionLevel = scope.columns.allSatisfy { $0.kind == .partitionKey || $0.kind == .static }
        let onlyStatics =
            statement.items != nil && !scope.columns.isEmpty && onlyPartitionLevel
            && scope.columns.contains { $0.isStatic }
        let selected = scope
        scope = SelectionScope()
        let restrictions = try selectRestrictions(
            statement.relations, table, allowsFiltering: statement.allowsFiltering, selectsOnlyStatics: onlyStatics)
        scope = selected
        if statement.isDistinct { try checkDistinct(table, restrictions, isWildcard: statement.items == nil) }
        let groupBy = try groupBy(statement.groupBy, table, restrictions)
        let isAggregated = !scope.aggregates.isEmpty || groupBy > 0
        let isReversed = try isReversed(statement.orderBy, table, restrictions, isDistinct: statement.isDistinct)
        if statement.perPartitionLimit != nil {
            if statement.isDistinct {
                throw .invalid("PER PARTITION LIMIT is not allowed with SELECT DISTINCT queries")
            }
            if isAggregated { throw .invalid("PER PARTITION LIMIT is not allowed with aggregate queries.") }
        }
        var postSort: [(column: Int, isDescending: Bool)] = []
        if !statement.orderBy.isEmpty, restrictions.hasPartitionIN {
            for (name, isDescending) in statement.orderBy {
                postSort.append((scope.index(of: try Self.column(name, in: table)), isDescending))
            }
        }
        // Columns used only by filters are fetched after the selected ones, so that a plain selection stays plain.
        for filter in restrictions.filters {
            for column in filter.columns { _ = scope.index(of: column) }
        }
        let columns = scope.columns
        let aggregates = scope.aggregates
        scope = SelectionScope()
        let limit = try limit(statement.limit, "[limit]", "LIMIT", table)
        let perPartitionLimit = try self.limit(
            statement.perPartitionLimit, "[per_partition_limit]", "PER PARTITION LIMIT", table)
        return SelectPlan(
            table: table, partition: restrictions.partition, clustering: restrictions.clustering,
            filters: restrictions.filters,
            selection: Selection(
                columns: columns, metadata: ResultMetadata(columns: parts.specs), selectors: parts.selectors,
                aggregates: aggregates,
                isWildcard: statement.items == nil),
            isDistinct: statement.isDistinct, groupByPrefixCount: groupBy, isReversed: isReversed, postSort: postSort,
            limit: limit,
            perPartitionLimit: perPartitionLimit, allowsFiltering: statement.allowsFiltering)
    }

    // MARK: Selection

    private mutating func resolveItems(
        _ statement: SelectStatement, _ table: TableMetadata
    ) throws(ServerError) -> (selectors: [Selector], specs: [ColumnSpec]) {
        scope = SelectionScope()
        scope.table = table
        var selectors: [Selector] = []
        var specs: [ColumnSpec] = []
        if let items = statement.items {
            for item in items {
                let resolved = try typed(item.expression)
                selectors.append(resolved.selector)
                specs.append(
                    ColumnSpec(
                        keyspace: table.keyspace, table: table.name,
                        name: item.alias ?? Self.resultName(item.expression),
                        type: resolved.type))
            }
        } else {
            for column in table.columns {
                selectors.append(.column(scope.index(of: column)))
                specs.append(
                    ColumnSpec(keyspace: table.keyspace, table: table.name, name: column.name, type: column.type))
            }
        }
        scope.table = nil
        guard statement.isJSON else { return (selectors, specs) }
        var members: [(name: String, value: Selector, type: CQLType)] = []
        for (selector, spec) in zip(selectors, specs) {
            // Quote a name that is not lower case, also inside JSON.
            let name = spec.name == spec.name.lowercased() ? spec.name : "\"\(spec.name)\""
            members.append((name, selector, spec.type))
        }
        return (
            [.json(members)], [ColumnSpec(keyspace: table.keyspace, table: table.name, name: "[json]", type: .text)]
        )
    }

    /// The name of a result column without an alias.
    static func resultName(_ expression: Expression) -> String {
        switch expression {
        case .column(let name): return name
        case .countRows: return "count"
        case .call(_, let name, let arguments):
            let inner = arguments.map { resultName($0) }.joined(separator: ", ")
            return name == "writetime" || name == "ttl" || name == "maxwritetime"
                ? "\(name)(\(inner))" : "system.\(name)(\(inner))"
        case .cast(let value, let type): return "cast(\(resultName(value)) as \(type.text))"
        case .element(let value, let key): return "\(resultName(value))[\(key.text)]"
        case .slice(let value, let from, let to): return "\(resultName(value))[\(from?.text ?? "")..\(to?.text ?? "")]"
        default: return expression.text
        }
    }

    private func checkDistinct(_ table: TableMetadata, _ restrictions: Restrictions, isWildcard: Bool)
        throws(ServerError)
    {
        if restrictions.demands.contains(where: { demand in
            demand.columns.contains { $0.kind == .clustering || $0.kind == .regular }
        }) {
            throw .invalid(
                "SELECT DISTINCT with WHERE clause only supports restriction by partition key and/or static columns.")
        }
        for column in scope.columns where column.kind != .partitionKey && column.kind != .static {
            throw .invalid(
                "SELECT DISTINCT queries must only request partition key columns and/or static columns (not \(column.name))"
            )
        }
        // Selecting only static columns is allowed unless a key column is requested.
        guard scope.columns.contains(where: { $0.kind == .partitionKey }) else { return }
        for column in table.partitionKey where !scope.columns.contains(column) {
            throw .invalid(
                "SELECT DISTINCT queries must request all the partition key columns (missing \(column.name))")
        }
    }

    // MARK: GROUP BY, ORDER BY, LIMIT

    /// Returns the number of primary key columns that define a group.
    private func groupBy(_ expressions: [Expression], _ table: TableMetadata, _ restrictions: Restrictions)
        throws(ServerError) -> Int
    {
        guard !expressions.isEmpty else { return 0 }
        let key = table.primaryKey
        var next = 0
        for expression in expressions {
            guard case .column(let name) = expression else {
                throw .invalid(
                    "Group by is currently only supported on the columns of the PRIMARY KEY, got \(expression.text)")
            }
            let column = try Self.column(name, in: table)
            guard column.isPrimaryKey else {
                throw .invalid("Group by is currently only supported on the columns of the PRIMARY KEY, got \(name)")
            }
            while next < key.count, key[next] != column, restrictions.equalColumns.contains(key[next].name) {
                next += 1
            }
            guard next < key.count, key[next] == column else {
                throw .invalid(
                    "Group by currently only support groups of columns following their declared order in the PRIMARY KEY"
                )
            }
            next += 1
        }
        if next < table.partitionKey.count {
            guard table.partitionKey[next...].allSatisfy({ restrictions.equalColumns.contains($0.name) }) else {
                throw .invalid("Group by is not supported on only a part of the partition key")
            }
            next = table.partitionKey.count
        }
        return next
    }

    private func isReversed(
        _ orderBy: [(column: String, isDescending: Bool)], _ table: TableMetadata, _ restrictions: Restrictions,
        isDistinct: Bool
    ) throws(ServerError) -> Bool {
        guard !orderBy.isEmpty else { return false }
        guard case .keys = restrictions.partition else {
            throw .invalid("ORDER BY is only supported when the partition key is restricted by an EQ or an IN.")
        }
        var reversed: Bool?
        var position = 0
        for (name, isDescending) in orderBy {
            let column = try Self.column(name, in: table)
            guard column.kind == .clustering else {
                throw .invalid(
                    "Order by is currently only supported on the clustered columns of the PRIMARY KEY, got \(name)")
            }
            while position < column.position, restrictions.equalColumns.contains(table.clustering[position].name) {
                position += 1
            }
            guard column.position == position else {
                throw .invalid(
                    "Order by currently only supports the ordering of columns following their declared order in the PRIMARY KEY"
                )
            }
            position += 1
            let isOpposite = isDescending != column.isDescending
            if let reversed, reversed != isOpposite { throw .invalid("Unsupported order by relation") }
            reversed = isOpposite
        }
        return reversed ?? false
    }

    private mutating func limit(
        _ expression: Expression?, _ name: String, _ what: String, _ table: TableMetadata
    ) throws(ServerError) -> Term? {
        guard let expression else { return nil }
        let term = try term(
            expression, for: Receiver(keyspace: table.keyspace, table: table.name, name: name, type: .int))
        if let bytes = term.constantBytes { _ = try LimitValue.check(bytes, what) }
        return term
    }
}
