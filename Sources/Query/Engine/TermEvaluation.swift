import CQL
import DataModel
import Primitives

extension Term {
    /// Appends the term's value to `out`.
    @inline(__always) func write(
        _ values: ValueList, _ context: inout EvaluationContext, to out: inout ByteWriter
    ) throws(ServerError) -> ValuePresence {
        return try evaluate(values, &context, into: &out)
    }

    /// The value as an array; empty when null or unset.
    func array(_ values: ValueList, _ context: inout EvaluationContext) throws(ServerError) -> (
        presence: ValuePresence, bytes: [UInt8]
    ) {
        var writer = ByteWriter(capacity: 64)
        let presence = try write(values, &context, to: &writer)
        return (presence, presence == .value ? writer.toArray() : [])
    }
}

extension TermList {
    /// The values of the elements.
    /// - Parameter column: for error messages.
    func arrays(
        _ values: ValueList, _ context: inout EvaluationContext, column: String
    ) throws(ServerError) -> [[UInt8]] {
        return try evaluate(column: column, values, &context)
    }
}

extension ServerError {
    /// Converts an invalid key value, or a damaged stored key, into the client's error.
    init(_ error: KeyError) {
        switch error {
        case .malformedValue(let type, let count): self = .invalid("a value of \(count) bytes is no \(type)")
        case .tooLong(let count): self = .invalid("Key length of \(count) is longer than maximum of 65535")
        case .unorderedType(let type): self = .invalid("\(type) cannot be part of a key: it has no order")
        case .damaged(let offset): self = ServerError(.serverError, "a stored key is damaged at byte \(offset)")
        }
    }
}
