import CQL
import DataModel
import Primitives

extension RowProjector {
    /// Appends a result cell: length and value.
    mutating func write(_ selector: Selector, inGroup: Bool) throws(ServerError) {
        switch selector {
        case .column(let slot) where !inGroup: slots.write(slot, to: &output)
        case .writeTime(let slot):
            guard let time = inGroup ? groups.writeTime(slot) : slots.writeTime(slot) else {
                return output.writeBE(Int32(-1))
            }
            output.writeBE(Int32(8))
            output.writeBE(time)
        case .timeToLive(let slot):
            guard let seconds = inGroup ? groups.timeToLive(slot) : slots.timeToLive(slot, now: run.now) else {
                return output.writeBE(Int32(-1))
            }
            output.writeBE(Int32(4))
            output.writeBE(seconds)
        default:
            guard let value = try evaluate(selector, inGroup: inGroup) else { return output.writeBE(Int32(-1)) }
            output.writeBE(Int32(value.count))
            output.write(value)
        }
    }

    /// The selector's value for the row in `slots`, or for the group being closed; nil for null.
    mutating func evaluate(_ selector: Selector, inGroup: Bool) throws(ServerError) -> [UInt8]? {
        switch selector {
        case .column(let slot): return inGroup ? groups.value(slot) : slots.array(slot)
        case .writeTime(let slot):
            return (inGroup ? groups.writeTime(slot) : slots.writeTime(slot)).map { NativeValue.bigint($0) }
        case .timeToLive(let slot):
            return (inGroup ? groups.timeToLive(slot) : slots.timeToLive(slot, now: run.now)).map {
                NativeValue.int($0)
            }
        case .term(let term):
            let (presence, bytes) = try term.array(run.values, &context)
            return presence == .value ? bytes : nil
        case .aggregate(let index): return try groups.result(index)
        case .call(let function, let arguments):
            var values: [[UInt8]?] = []
            for argument in arguments { values.append(try evaluate(argument, inGroup: inGroup)) }
            return try function.call(values, &context)
        case .element(let collection, let key, let type):
            let (presence, wanted) = try key.array(run.values, &context)
            guard let held = try evaluate(collection, inGroup: inGroup), presence == .value else { return nil }
            return try CollectionAccess.element(of: held, key: wanted, type: type)
        case .slice(let collection, let from, let to, let type):
            var bounds: [[UInt8]?] = []
            for term in [from, to] {
                guard let term else {
                    bounds.append(nil)
                    continue
                }
                let (presence, bytes) = try term.array(run.values, &context)
                guard presence == .value else { return nil }
                bounds.append(bytes)
            }
            guard let held = try evaluate(collection, inGroup: inGroup) else { return nil }
            return try CollectionAccess.slice(of: held, from: bounds[0], to: bounds[1], type: type)
        case .list(let parts):
            return NativeValue.collection(try all(parts, inGroup, "list"))
        case .set(let parts, let type):
            var values = try all(parts, inGroup, "set")
            guard case .set(let element) = type.unfrozen else { return nil }
            values.sort { element.compare($0, $1) < 0 }
            var distinct: [[UInt8]] = []
            for value in values where distinct.last != value { distinct.append(value) }
            return NativeValue.collection(distinct)
        case .map(let entries, let type):
            var pairs: [([UInt8], [UInt8])] = []
            for entry in entries {
                let both = try all([entry.key, entry.value], inGroup, "map")
                pairs.append((both[0], both[1]))
            }
            guard case .map(let key, _) = type.unfrozen else { return nil }
            pairs.sort { key.compare($0.0, $1.0) < 0 }
            return NativeValue.collection(pairs.flatMap { [$0.0, $0.1] }, valuesPerElement: 2)
        case .tuple(let parts):
            var writer = ByteWriter()
            for part in parts {
                let value = try evaluate(part, inGroup: inGroup)
                writer.writeBE(Int32(value?.count ?? -1))
                if let value { writer.write(value) }
            }
            return writer.toArray()
        case .json(let fields): return try json(fields, inGroup)
        }
    }

    private mutating func all(_ parts: [Selector], _ inGroup: Bool, _ kind: String) throws(ServerError) -> [[UInt8]] {
        var values: [[UInt8]] = []
        for part in parts {
            guard let value = try evaluate(part, inGroup: inGroup) else {
                throw .invalid("null is not supported inside collections: an element of the \(kind) is null")
            }
            values.append(value)
        }
        return values
    }

    private mutating func json(
        _ fields: [(name: String, value: Selector, type: CQLType)], _ inGroup: Bool
    ) throws(ServerError) -> [UInt8] {
        var text = ByteWriter(capacity: 128)
        text.write(UInt8(ascii: "{"))
        for (index, field) in fields.enumerated() {
            if index > 0 { text.write(", ") }
            NativeValue.text(field.name).withUnsafeBytes { CQLType.text.appendJSON($0, to: &text) }
            text.write(": ")
            if let value = try evaluate(field.value, inGroup: inGroup) {
                value.withUnsafeBytes { field.type.appendJSON($0, to: &text) }
            } else {
                text.write("null")
            }
        }
        text.write(UInt8(ascii: "}"))
        return text.toArray()
    }
}
