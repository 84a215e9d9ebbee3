import DataModel

/// The statements of a BATCH; its consistency and timestamps stand in `QueryOptions`.
///
/// A connection keeps one; the statements and their value lists are reused from batch to batch.
public struct BatchRequest: Sendable {
    /// Part of the protocol; do not change.
    public enum Kind: UInt8, Sendable { case logged = 0, unlogged = 1, counter = 2 }

    /// One statement of a batch.
    public struct Statement: Sendable {
        public enum Source: Sendable, Equatable {
            /// CQL text, at this place of the body.
            case text(Range<Int>)
            /// The id of a prepared statement, at this place of the body.
            case prepared(Range<Int>)
        }

        public internal(set) var source: Source
        public internal(set) var values: ValueList
    }

    public internal(set) var kind: Kind = .logged
    /// Statements of this batch; `statements` may hold more, left from a longer one.
    public internal(set) var count = 0
    public internal(set) var statements: [Statement] = []

    public init() {}

    mutating func reset() {
        count = 0
        kind = .logged
    }

    /// Makes the next statement current and empties its values.
    mutating func begin(_ source: Statement.Source) {
        if count < statements.count {
            statements[count].source = source
            statements[count].values.removeAll()
        } else {
            statements.append(Statement(source: source, values: ValueList()))
        }
        count += 1
    }
}
