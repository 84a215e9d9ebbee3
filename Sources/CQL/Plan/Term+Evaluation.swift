import DataModel
import Primitives

extension Term {
    /// Appends the value's native bytes to `writer`; appends nothing for null and unset.
    ///
    /// Constants and bind markers do not allocate. A bound value is validated against the type; sets and maps are put
    /// into canonical order.
    /// - Throws: Invalid when a bound value is not a value of the type.
    @inline(__always)
    public func evaluate(
        _ values: ValueList, _ context: inout EvaluationContext, into writer: inout ByteWriter
    ) throws(ServerError) -> ValuePresence {
        switch node {
        case .constant(let bytes):
            writer.write(bytes)
            return .value
        case .bind(let index): return try Self.writeBound(index, type, values, &writer)
        case .null: return .null
        default: return try evaluateComposite(values, &context, &writer)
        }
    }

    /// Returns the value's native bytes; nil for both null and unset.
    public func evaluate(_ values: ValueList, _ context: inout EvaluationContext) throws(ServerError) -> [UInt8]? {
        if case .constant(let bytes) = node { return bytes }
        var writer = ByteWriter(capacity: 64)
        return try evaluate(values, &context, into: &writer) == .value ? writer.toArray() : nil
    }

    private static func writeBound(
        _ index: Int, _ type: CQLType, _ values: ValueList, _ writer: inout ByteWriter
    ) throws(ServerError) -> ValuePresence {
        guard index < values.count else {
            throw .invalid("There were \(index + 1) markers(?) in CQL but \(values.count) bound variables")
        }
        switch values.entries[index] {
        case .null: return .null
        case .unset: return .unset
        case .value(let range):
            let outcome: Result<Void, ValueError> = values.bytes.withUnsafeBytes { all in
                let bytes = UnsafeRawBufferPointer(rebasing: all[range])
                do throws(ValueError) {
                    try type.validate(bytes)
                    if type.needsCanonicalForm, let canonical = try CollectionBuilder.canonical(bytes, type) {
                        writer.write(canonical)
                    } else {
                        writer.write(bytes)
                    }
                    return .success(())
                } catch { return .failure(error) }
            }
            if case .failure(let error) = outcome { throw error.serverError }
            return .value
        }
    }

    private func evaluateComposite(
        _ values: ValueList, _ context: inout EvaluationContext, _ writer: inout ByteWriter
    ) throws(ServerError) -> ValuePresence {
        do throws(EvaluationError) {
            guard let bytes = try composite(values, &context) else { return .null }
            writer.write(bytes)
            return .value
        } catch {
            switch error {
            case .unset: return .unset
            case .server(let error): throw error
            case .value(let error): throw error.serverError
            }
        }
    }

    private enum EvaluationError: Error {
        case unset
        case server(ServerError)
        case value(ValueError)
    }

    private func elements(
        _ terms: [Term], _ values: ValueList, _ context: inout EvaluationContext
    ) throws(EvaluationError) -> [[UInt8]] {
        var elements: [[UInt8]] = []
        elements.reserveCapacity(terms.count)
        for term in terms {
            guard let bytes = try term.part(values, &context) else {
                throw .server(.invalid("null is not supported inside collections"))
            }
            elements.append(bytes)
        }
        return elements
    }

    /// Evaluates a value inside another; it must not be unset.
    private func part(_ values: ValueList, _ context: inout EvaluationContext) throws(EvaluationError) -> [UInt8]? {
        if let bytes = constantBytes { return bytes }
        var writer = ByteWriter(capacity: 64)
        let presence: ValuePresence
        do throws(ServerError) { presence = try evaluate(values, &context, into: &writer) } catch {
            throw .server(error)
        }
        switch presence {
        case .value: return writer.toArray()
        case .null: return nil
        case .unset: throw .server(.invalid("Invalid unset value for argument in call or inside a collection"))
        }
    }

    private func composite(_ values: ValueList, _ context: inout EvaluationContext) throws(EvaluationError) -> [UInt8]?
    {
        switch node {
        case .null: return nil
        case .constant(let bytes): return bytes
        case .bind: return try part(values, &context)
        case .list(let terms):
            let elements = try elements(terms, values, &context)
            do throws(ValueError) { return try CollectionBuilder.list(elements) } catch { throw .value(error) }
        case .set(let terms):
            let elements = try elements(terms, values, &context)
            guard case .set(let element) = type.unfrozen else { return nil }
            do throws(ValueError) { return try CollectionBuilder.set(elements, of: element) } catch {
                throw .value(error)
            }
        case .map(let pairs):
            guard case .map(let key, _) = type.unfrozen else { return nil }
            let keys = try elements(pairs.map(\.key), values, &context)
            let held = try elements(pairs.map(\.value), values, &context)
            do throws(ValueError) {
                return try CollectionBuilder.map(zip(keys, held).map { ($0, $1) }, keys: key)
            } catch { throw .value(error) }
        case .tuple(let terms):
            var parts: [[UInt8]?] = []
            for term in terms { parts.append(try term.part(values, &context)) }
            return CollectionBuilder.tuple(parts)
        case .call(let function, let terms):
            var arguments: [[UInt8]?] = []
            for term in terms { arguments.append(try term.part(values, &context)) }
            do throws(ServerError) { return try function.call(arguments, &context) } catch { throw .server(error) }
        case .generated(let call, let function):
            do throws(ServerError) { return try context.value(ofCall: call, function) } catch { throw .server(error) }
        case .field(let term, let index):
            guard let bytes = try term.part(values, &context) else { return nil }
            do throws(ValueError) { return try Self.field(index, of: bytes) } catch { throw .value(error) }
        case .jsonField(let document, let name, let absentIsUnset, let table):
            guard let text = try document.part(values, &context) else { return nil }
            let members: [String: JSONValue]
            do throws(ValueError) { members = try JSONInsert.members(text, of: table) } catch { throw .value(error) }
            guard let value = members[name] else {
                if absentIsUnset { throw .unset }
                return nil
            }
            do throws(ValueError) { return try JSONInsert.bytes(value, column: name, type) } catch {
                throw .value(error)
            }
        }
    }

    private static func field(_ index: Int, of bytes: [UInt8]) throws(ValueError) -> [UInt8]? {
        try bytes.withUnsafeBytesTyped { (raw) throws(ValueError) -> [UInt8]? in
            var reader = TupleReader(raw)
            for _ in 0..<index { _ = try reader.next() }
            return (try reader.next() ?? nil).map { Array($0) }
        }
    }
}

extension TermList {
    /// Returns the values of the list, for a key or filter on `column`.
    /// - Throws: Invalid for a null or unset list or element.
    public func evaluate(
        column: String, _ values: ValueList, _ context: inout EvaluationContext
    ) throws(ServerError) -> [[UInt8]] {
        switch self {
        case .terms(let terms):
            var list: [[UInt8]] = []
            list.reserveCapacity(terms.count)
            var writer = ByteWriter(capacity: 64)
            for term in terms {
                writer.removeAll()
                switch try term.evaluate(values, &context, into: &writer) {
                case .value: list.append(writer.toArray())
                case .null: throw .invalid("Invalid null value in condition for column \(column)")
                case .unset: throw .invalid("Invalid unset value for column \(column)")
                }
            }
            return list
        case .bound(let term):
            var writer = ByteWriter(capacity: 256)
            switch try term.evaluate(values, &context, into: &writer) {
            case .null: throw .invalid("Invalid null value for column \(column)")
            case .unset: throw .invalid("Invalid unset value for column \(column)")
            case .value: break
            }
            var list: [[UInt8]] = []
            do throws(ValueError) {
                var reader = try CollectionReader(writer.bytes, name: "list")
                while let value = try reader.next() { list.append(Array(value)) }
            } catch { throw error.serverError }
            return list
        }
    }
}
