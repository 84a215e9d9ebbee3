import DataModel

/// A WHERE clause as what to read: partitions, a range of clustering keys, and filters to check on each row.
struct Restrictions {
    var partition = PartitionSelection.all
    var clustering = ClusteringSelection.all
    var filters: [RowFilter] = []
    /// The restricted clustering columns, in order.
    var clusteringColumns: [ColumnMetadata] = []
    /// All columns restricted by an equality.
    var equalColumns: Set<String> = []
    var demands: [ColumnRestriction] = []
}

enum RestrictionMessage {
    static let allowFiltering =
        "Cannot execute this query as it might involve data filtering and thus may have unpredictable performance. "
        + "If you want to execute this query despite the performance unpredictability, use ALLOW FILTERING"
}

extension Planner {
    // MARK: SELECT

    mutating func selectRestrictions(
        _ relations: [Relation], _ table: TableMetadata, allowsFiltering: Bool, selectsOnlyStatics: Bool
    ) throws(ServerError) -> Restrictions {
        let checked = try check(relations, in: table, verb: "SELECT")
        var result = Restrictions(demands: checked.demands)
        result.noteEqualColumns()
        var byKind: [ColumnMetadata.Kind: [ColumnRestriction]] = [:]
        for demand in checked.demands { byKind[demand.columns[0].kind, default: []].append(demand) }
        let partitionDemands = byKind[.partitionKey] ?? []
        let clusteringDemands = byKind[.clustering] ?? []
        let otherDemands = (byKind[.static] ?? []) + (byKind[.regular] ?? [])

        var isRange = false
        if let token = checked.token {
            result.partition = .tokenRange(lower: token.lower, upper: token.upper)
            isRange = true
        } else if let keys = Self.keyRestrictions(partitionDemands, table) {
            result.partition = .keys(keys)
        } else {
            isRange = true
            if !partitionDemands.isEmpty, !allowsFiltering { throw .invalid(RestrictionMessage.allowFiltering) }
            result.filters += partitionDemands.map(\.rowFilter)
        }
        if selectsOnlyStatics, !clusteringDemands.isEmpty, !table.statics.isEmpty {
            throw .invalid("Cannot restrict clustering columns when selecting only static columns")
        }
        if clusteringDemands.contains(where: { if case .filter = $0.kind { true } else { false } }), !allowsFiltering {
            throw .invalid(
                "Clustering columns can only be restricted with CONTAINS with a secondary index or filtering")
        }
        let rest = try clusteringSelection(clusteringDemands, table, allowsGaps: allowsFiltering, into: &result)
        if isRange, !clusteringDemands.isEmpty {
            if !allowsFiltering { throw .invalid(RestrictionMessage.allowFiltering) }
            result.clustering = .all
            result.filters += clusteringDemands.map(\.rowFilter)
        } else {
            result.filters += rest.map(\.rowFilter)
        }
        if !otherDemands.isEmpty, !allowsFiltering { throw .invalid(RestrictionMessage.allowFiltering) }
        result.filters += otherDemands.map(\.rowFilter)
        return result
    }

    /// Returns one restriction per partition key column; nil when a column is unrestricted, or restricted by anything
    /// but `=` and IN.
    private static func keyRestrictions(_ demands: [ColumnRestriction], _ table: TableMetadata) -> [KeyRestriction]? {
        var restrictions: [KeyRestriction] = []
        for column in table.partitionKey {
            let own = demands.filter { $0.columns[0] == column }
            guard own.count == 1 else { return nil }
            switch own[0].kind {
            case .equal(let term): restrictions.append(.equal(term))
            case .oneOf(let list): restrictions.append(.oneOf(list))
            case .slice, .filter: return nil
            }
        }
        return restrictions
    }

    // MARK: Clustering

    /// Builds the narrowest clustering key range that the relations allow.
    /// - Returns: the relations that the range does not express. Without `allowsGaps` such relations are an error.
    private func clusteringSelection(
        _ demands: [ColumnRestriction], _ table: TableMetadata, allowsGaps: Bool, into result: inout Restrictions
    ) throws(ServerError) -> [ColumnRestriction] {
        result.clusteringColumns = table.clustering.filter { column in demands.contains { $0.columns.contains(column) }
        }
        if !allowsGaps { try refuseGaps(demands, table, result.clusteringColumns) }
        var selection = ClusteringSelection()
        var used: Set<Int> = []
        var position = 0
        walk: while position < table.clustering.count {
            let column = table.clustering[position]
            let own = demands.indices.filter { demands[$0].columns[0] == column }
            guard let first = own.first else { break }
            let demand = demands[first]
            switch demand.kind {
            case .equal(let term): selection.parts.append(.equal(term))
            case .oneOf(let list):
                selection.parts.append(
                    demand.isTuple ? .oneOfTuples(columnCount: demand.columns.count, list) : .oneOf(list))
            case .slice:
                // Bounds end the range. A bound that is inexact because of mixed column directions is also checked on
                // each row.
                for index in own {
                    guard case .slice(let comparison, let term) = demands[index].kind else { continue }
                    let isExact = Self.addBound(comparison, term, demands[index].columns, to: &selection)
                    if isExact { used.insert(index) } else { result.filters.append(demands[index].rowFilter) }
                    used.insert(index)
                }
                break walk
            case .filter: break walk
            }
            used.insert(first)
            position += demand.columns.count
        }
        result.clustering = selection
        return demands.indices.filter { !used.contains($0) }.map { demands[$0] }
    }

    /// Returns whether the bound expresses the comparison exactly.
    private static func addBound(
        _ comparison: ComparisonOperator, _ term: Term, _ columns: [ColumnMetadata],
        to selection: inout ClusteringSelection
    ) -> Bool {
        var terms = [term]
        var isInclusive = comparison == .greaterOrEqual || comparison == .lessOrEqual
        var isExact = true
        if columns.count > 1, case .tuple(let fields) = term.node {
            let direction = columns[0].isDescending
            let count = columns.prefix { $0.isDescending == direction }.count
            terms = Array(fields.prefix(count))
            if count < columns.count { (isInclusive, isExact) = (true, false) }
        } else if columns.count > 1 {
            // A folded constant: take the fields from the tuple.
            let direction = columns[0].isDescending
            let count = columns.prefix { $0.isDescending == direction }.count
            terms = (0..<count).map { Term(type: columns[$0].type, node: .field(term, $0)) }
            if count < columns.count { (isInclusive, isExact) = (true, false) }
        }
        let bound = ClusteringBound(terms: terms, isInclusive: isInclusive)
        if comparison == .greater || comparison == .greaterOrEqual {
            selection.lower = bound
        } else {
            selection.upper = bound
        }
        return isExact
    }

    private func refuseGaps(_ demands: [ColumnRestriction], _ table: TableMetadata, _ restricted: [ColumnMetadata])
        throws(ServerError)
    {
        // A column after a column with bounds.
        for demand in demands {
            guard case .slice = demand.kind else { continue }
            let last = demand.columns[demand.columns.count - 1].position
            if let later = restricted.first(where: { $0.position > last }) {
                throw .invalid(
                    "Clustering column \"\(later.name)\" cannot be restricted (preceding column \"\(demand.columns[0].name)\" is restricted by a non-EQ relation)"
                )
            }
        }
        for (column, wanted) in zip(restricted, table.clustering) where column != wanted {
            throw .invalid(
                "PRIMARY KEY column \"\(column.name)\" cannot be restricted as preceding column \"\(wanted.name)\" is not restricted"
            )
        }
    }

    // MARK: INSERT, UPDATE, DELETE

    /// - Parameter allowsSlices: whether a range of rows is allowed, as in DELETE.
    mutating func modificationRestrictions(
        _ relations: [Relation], _ table: TableMetadata, verb: String, affectsOnlyStatics: Bool, allowsSlices: Bool
    ) throws(ServerError) -> Restrictions {
        let checked = try check(relations, in: table, verb: verb)
        var result = Restrictions(demands: checked.demands)
        result.noteEqualColumns()
        let others = checked.demands.flatMap(\.columns).filter { !$0.isPrimaryKey }
        if !others.isEmpty {
            throw .invalid(
                "Non PRIMARY KEY columns found in where clause: \(others.map(\.name).joined(separator: ", "))")
        }
        let partitionDemands = checked.demands.filter { $0.columns[0].kind == .partitionKey }
        let missing = table.partitionKey.filter { column in !partitionDemands.contains { $0.columns[0] == column } }
        guard missing.isEmpty else {
            throw .invalid("Some partition key parts are missing: \(missing.map(\.name).joined(separator: ", "))")
        }
        guard let keys = Self.keyRestrictions(partitionDemands, table) else {
            throw .invalid(
                "Only EQ and IN relation are supported on the partition key (unless you use the token() function) for \(verb) statements"
            )
        }
        result.partition = .keys(keys)
        let clusteringDemands = checked.demands.filter { $0.columns[0].kind == .clustering }
        for demand in clusteringDemands {
            switch demand.kind {
            case .filter: throw .invalid("Cannot use \(verb) with CONTAINS")
            case .slice where !allowsSlices:
                throw .invalid("Slice restrictions are not supported on the clustering columns in \(verb) statements")
            default: break
            }
        }
        _ = try clusteringSelection(clusteringDemands, table, allowsGaps: false, into: &result)
        guard result.filters.isEmpty else {
            throw .invalid("Bounds on clustering columns of mixed order are not supported in \(verb) statements")
        }
        if affectsOnlyStatics {
            guard clusteringDemands.isEmpty else {
                throw .invalid(
                    "Invalid restrictions on clustering columns since the \(verb) statement modifies only static columns"
                )
            }
        } else if !allowsSlices {
            let missing = table.clustering.filter { !result.clusteringColumns.contains($0) }
            guard missing.isEmpty else {
                throw .invalid("Some clustering keys are missing: \(missing.map(\.name).joined(separator: ", "))")
            }
        }
        return result
    }
}

extension Restrictions {
    fileprivate mutating func noteEqualColumns() {
        for demand in demands {
            if case .equal = demand.kind { for column in demand.columns { equalColumns.insert(column.name) } }
        }
    }

    /// The partition key restrictions; empty when the statement does not name its partitions.
    var keys: [KeyRestriction] { if case .keys(let keys) = partition { keys } else { [] } }
    var hasPartitionIN: Bool { keys.contains { !$0.isEqual } }
}
