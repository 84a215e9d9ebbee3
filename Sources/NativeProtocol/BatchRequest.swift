import DataModel

/// The statements of a BATCH message. Its consistency levels and timestamp are in `QueryOptions`.
///
/// A connection reuses one; the statements and their value lists keep their memory from batch to batch.
public struct BatchRequest: Sendable {
    /// Part of the protocol; do not change.
    public enum Kind: UInt8, Sendable { case logged = 0, unlogged = 1, counter = 2 }

    /// One statement of a batch.
    public struct Statement: Sendable {
        public enum Source: Sendable, Equatable {
            /// CQL text, at this range of the body.
            case text(Range<Int>)
            /// The id of a prepared statement, at this range of the body.
            case prepared(Range<Int>)
        }

        public internal(set) var source: Source
        public internal(set) var values: ValueList
    }

    public internal(set) var kind: Kind = .logged
    /// The number of statements in this batch; `statements` may have more, left from a longer one.
    public internal(set) var count = 0
    public internal(set) var statements: [Statement] = []

    public init() {}

    mutating func reset() {
        count = 0
        kind = .logged
    }

    /// Appends a statement without values.
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
