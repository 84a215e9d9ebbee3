import DataModel

/// A term or selector as written, before names and types are resolved.
public indirect enum Expression: Sendable {
    public enum BinaryOperator: String, Sendable {
        case add = "+"
        case subtract = "-"
        case multiply = "*"
        case divide = "/"
        case modulo = "%"
    }

    /// A number, string or other constant; blobs include their 0x.
    case constant(ConstantKind, String)
    case null
    /// A bind marker `?` or `:name`; numbered from 0 in the order of the text.
    case marker(Int)
    case column(String)
    case call(keyspace: String?, name: String, [Expression])
    /// `count(*)`.
    case countRows
    /// `CAST(x AS type)`.
    case cast(Expression, TypeName)
    /// `(type) x`.
    case typeHint(TypeName, Expression)
    /// `x[key]`.
    case element(Expression, Expression)
    /// `x[from..to]`.
    case slice(Expression, from: Expression?, to: Expression?)
    /// `x.field`.
    case field(Expression, String)
    case list([Expression])
    /// `{a, b}`; also `{}`, which may be a map.
    case set([Expression])
    case map([(key: Expression, value: Expression)])
    /// `(a, b)`.
    case tuple([Expression])
    case binary(BinaryOperator, Expression, Expression)
    case negate(Expression)
}

extension Expression {
    /// The expression as shown in error messages and as a result column.
    public var text: String {
        switch self {
        case .constant(let kind, let text): kind == .string ? Identifier.stringLiteral(text) : text
        case .null: "null"
        case .marker: "?"
        case .column(let name): name
        case .call(let keyspace, let name, let arguments):
            (keyspace.map { $0 + "." } ?? "") + name + "(" + Self.joined(arguments) + ")"
        case .countRows: "count(*)"
        case .cast(let value, let type): "cast(\(value.text) as \(type.text))"
        case .typeHint(let type, let value): "(\(type.text))\(value.text)"
        case .element(let value, let key): "\(value.text)[\(key.text)]"
        case .slice(let value, let from, let to): "\(value.text)[\(from?.text ?? "")..\(to?.text ?? "")]"
        case .field(let value, let name): "\(value.text).\(name)"
        case .list(let elements): "[" + Self.joined(elements) + "]"
        case .set(let elements): "{" + Self.joined(elements) + "}"
        case .map(let entries): "{" + entries.map { "\($0.key.text): \($0.value.text)" }.joined(separator: ", ") + "}"
        case .tuple(let elements): "(" + Self.joined(elements) + ")"
        case .binary(let operation, let a, let b): "\(a.text) \(operation.rawValue) \(b.text)"
        case .negate(let value): "-\(value.text)"
        }
    }

    private static func joined(_ expressions: [Expression]) -> String {
        expressions.map(\.text).joined(separator: ", ")
    }
}
