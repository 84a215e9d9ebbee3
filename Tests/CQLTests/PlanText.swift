import DataModel
import Primitives

@testable import CQL

/// Formats plans as text for transcripts.
enum PlanText {
    static func text(_ planned: PlannedStatement) -> String {
        var lines = text(planned.plan)
        if !planned.bindVariables.isEmpty {
            lines.append("markers: " + planned.bindVariables.map { "\($0.name) \($0.type)" }.joined(separator: ", "))
        }
        if !planned.partitionKeyIndexes.isEmpty { lines.append("pk markers: \(planned.partitionKeyIndexes)") }
        return lines.joined(separator: "\n")
    }

    static func text(_ plan: Plan) -> [String] {
        switch plan {
        case .select(let select): return text(select)
        case .modification(let modification): return text(modification)
        case .batch(let batch):
            var lines = ["batch \(batch.kind)" + (batch.timestamp.map { " timestamp \(text($0))" } ?? "")]
            for statement in batch.statements { lines += text(statement).map { "  " + $0 } }
            return lines
        case .schema: return ["schema statement"]
        case .use(let keyspace): return ["use \(keyspace)"]
        case .truncate(let table): return ["truncate \(table.qualifiedName)"]
        case .describe(let describe): return ["describe \(describe.subject)"]
        }
    }

    static func text(_ select: SelectPlan) -> [String] {
        var head = "select \(select.table.qualifiedName)"
        if select.isDistinct { head += " distinct" }
        if select.isReversed { head += " reversed" }
        if select.groupByPrefixCount > 0 { head += " group by \(select.groupByPrefixCount)" }
        if let limit = select.limit { head += " limit \(text(limit))" }
        if let limit = select.perPartitionLimit { head += " per partition limit \(text(limit))" }
        var lines = [head, "partition: \(text(select.partition))"]
        if !select.clustering.isAll { lines.append("clustering: \(text(select.clustering))") }
        for filter in select.filters { lines.append("filter: \(text(filter))") }
        for sort in select.postSort {
            lines.append("sort: \(select.selection.columns[sort.column].name)\(sort.isDescending ? " desc" : "")")
        }
        let selection = select.selection
        let results = zip(selection.metadata.columns, selection.selectors).map { spec, selector in
            "\(spec.name) \(spec.type)" + (selection.isPlain ? "" : " = \(text(selector, selection))")
        }
        lines.append((selection.isPlain ? "columns: " : "computed: ") + results.joined(separator: "; "))
        if selection.columns.count > selection.selectors.count || !selection.isPlain {
            lines.append("fetched: " + selection.columns.map(\.name).joined(separator: ", "))
        }
        return lines
    }

    static func text(_ modification: ModificationPlan) -> [String] {
        var head = "\(modification.kind) \(modification.table.qualifiedName) \(modification.target)"
        if modification.affectsOnlyStatics { head += " statics" }
        if modification.requiresRead { head += " reading" }
        if let timestamp = modification.timestamp { head += " timestamp \(text(timestamp))" }
        if let ttl = modification.timeToLive { head += " ttl \(text(ttl))" }
        var lines = [head, "partition: \(text(.keys(modification.partition)))"]
        if !modification.clustering.isAll { lines.append("clustering: \(text(modification.clustering))") }
        for operation in modification.operations { lines.append("\(operation.column.name): \(text(operation.action))") }
        switch modification.condition {
        case .none: break
        case .ifExists: lines.append("if exists")
        case .ifNotExists: lines.append("if not exists")
        case .columns(let conditions):
            for condition in conditions {
                var name = condition.column.name
                if case .element(let key) = condition.access { name += "[\(text(key))]" }
                switch condition.demand {
                case .compare(let comparison, let term): lines.append("if \(name) \(comparison.rawValue) \(text(term))")
                case .oneOf(let list): lines.append("if \(name) in \(text(list))")
                }
            }
        }
        return lines
    }

    static func text(_ action: ColumnOperation.Action) -> String {
        switch action {
        case .set(let term): "set \(text(term))"
        case .append(let term): "append \(text(term))"
        case .prepend(let term): "prepend \(text(term))"
        case .add(let term): "add \(text(term))"
        case .remove(let term): "remove \(text(term))"
        case .setElement(let key, let value): "set [\(text(key))] \(text(value))"
        case .deleteElement(let key): "delete [\(text(key))]"
        case .delete: "delete"
        case .increment(let term): "increment \(text(term))"
        case .decrement(let term): "decrement \(text(term))"
        }
    }

    static func text(_ term: Term) -> String {
        switch term.node {
        case .null: "null"
        case .constant(let bytes): term.type.text(bytes, style: .literal)
        case .bind(let index): "?\(index)"
        case .list(let terms): "[" + terms.map { text($0) }.joined(separator: ", ") + "]"
        case .set(let terms): "{" + terms.map { text($0) }.joined(separator: ", ") + "}"
        case .map(let entries): "{" + entries.map { "\(text($0.key)): \(text($0.value))" }.joined(separator: ", ") + "}"
        case .tuple(let terms): "(" + terms.map { text($0) }.joined(separator: ", ") + ")"
        case .call(let function, let terms): "\(function.name)(\(terms.map { text($0) }.joined(separator: ", ")))"
        case .generated(_, let function): "\(function.name)()"
        case .field(let term, let index): "\(text(term)).\(index)"
        case .jsonField(let document, let name, let unset, _):
            "json(\(text(document))).\(name)\(unset ? " or unset" : "")"
        }
    }

    static func text(_ list: TermList) -> String {
        switch list {
        case .terms(let terms): "(" + terms.map { text($0) }.joined(separator: ", ") + ")"
        case .bound(let term): text(term)
        }
    }

    static func text(_ partition: PartitionSelection) -> String {
        switch partition {
        case .all: return "all"
        case .keys(let keys):
            return keys.map { key in
                switch key {
                case .equal(let term): "= \(text(term))"
                case .oneOf(let list): "in \(text(list))"
                }
            }.joined(separator: ", ")
        case .tokenRange(let lower, let upper):
            return "token" + (lower.map { " \($0.isInclusive ? ">=" : ">") \(text($0.term))" } ?? "")
                + (upper.map { " \($0.isInclusive ? "<=" : "<") \(text($0.term))" } ?? "")
        }
    }

    static func text(_ clustering: ClusteringSelection) -> String {
        var parts = clustering.parts.map { part in
            switch part {
            case .equal(let term): "= \(text(term))"
            case .oneOf(let list): "in \(text(list))"
            case .oneOfTuples(let count, let list): "\(count) columns in \(text(list))"
            }
        }
        func bound(_ bound: ClusteringBound, _ symbol: String) -> String {
            "\(symbol)\(bound.isInclusive ? "=" : "") " + bound.terms.map { text($0) }.joined(separator: " ")
        }
        if let lower = clustering.lower { parts.append(bound(lower, ">")) }
        if let upper = clustering.upper { parts.append(bound(upper, "<")) }
        return parts.joined(separator: ", ")
    }

    static func text(_ filter: RowFilter) -> String {
        let names = filter.columns.map(\.name).joined(separator: ", ")
        switch filter.demand {
        case .compare(let comparison, let term): return "\(names) \(comparison.rawValue) \(text(term))"
        case .oneOf(let list): return "\(names) in \(text(list))"
        case .contains(let term): return "\(names) contains \(text(term))"
        case .containsKey(let term): return "\(names) contains key \(text(term))"
        case .entry(let key, let comparison, let value):
            return "\(names)[\(text(key))] \(comparison.rawValue) \(text(value))"
        }
    }

    static func text(_ selector: Selector, _ selection: Selection) -> String {
        func all(_ selectors: [Selector]) -> String { selectors.map { text($0, selection) }.joined(separator: ", ") }
        switch selector {
        case .column(let index): return selection.columns[index].name
        case .writeTime(let index): return "writetime(\(selection.columns[index].name))"
        case .timeToLive(let index): return "ttl(\(selection.columns[index].name))"
        case .term(let term): return text(term)
        case .call(let function, let arguments): return "\(function.name)(\(all(arguments)))"
        case .element(let inner, let key, _): return "\(text(inner, selection))[\(text(key))]"
        case .slice(let inner, let from, let to, _):
            return "\(text(inner, selection))[\(from.map { text($0) } ?? "")..\(to.map { text($0) } ?? "")]"
        case .list(let inner): return "[\(all(inner))]"
        case .set(let inner, _): return "{\(all(inner))}"
        case .map(let inner, _):
            return "{"
                + inner.map { "\(text($0.key, selection)): \(text($0.value, selection))" }.joined(separator: ", ") + "}"
        case .tuple(let inner): return "(\(all(inner)))"
        case .aggregate(let index):
            let aggregate = selection.aggregates[index]
            return "aggregate \(aggregate.function.operation)(\(aggregate.argument.map { text($0, selection) } ?? "*"))"
        case .json(let members):
            return "json(" + members.map { "\($0.name): \(text($0.value, selection))" }.joined(separator: ", ") + ")"
        }
    }
}
