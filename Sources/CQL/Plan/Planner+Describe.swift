import DataModel

extension Planner {
    func describe(_ statement: DescribeStatement) throws(ServerError) -> DescribePlan {
        var subject = statement.subject
        switch subject {
        case .tables(nil): subject = .tables(keyspace: keyspace)
        case .types(nil): subject = .types(keyspace: keyspace)
        case .functions(nil): subject = .functions(keyspace: keyspace)
        case .aggregates(nil): subject = .aggregates(keyspace: keyspace)
        case .any(nil, ""):
            guard let keyspace else { throw .invalid("No keyspace specified and no current keyspace") }
            subject = .keyspace(keyspace, onlyKeyspace: false)
        case .table("", let name):
            guard let keyspace else { throw .invalid("No keyspace specified and no current keyspace") }
            subject = .table(keyspace: keyspace, name: name)
        default: break
        }
        return DescribePlan(subject: subject, withInternals: statement.withInternals, keyspaceInUse: keyspace)
    }
}
