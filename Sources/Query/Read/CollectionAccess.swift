import DataModel
import Primitives

/// Native-protocol bytes of values that the server creates.
enum NativeValue {
    static func int(_ value: Int32) -> [UInt8] { bigEndian(value) }
    static func bigint(_ value: Int64) -> [UInt8] { bigEndian(value) }
    static func boolean(_ value: Bool) -> [UInt8] { [value ? 1 : 0] }
    static func text(_ value: String) -> [UInt8] { Array(value.utf8) }
    static func double(_ value: Double) -> [UInt8] { bigEndian(value.bitPattern) }
    static func uuid(_ value: UUID) -> [UInt8] { value.bytes }

    /// Serializes values in order; the keys and values of a map alternate.
    static func collection(_ values: [[UInt8]], valuesPerElement: Int = 1) -> [UInt8] {
        var writer = ByteWriter(capacity: 64)
        writer.writeBE(Int32(values.count / valuesPerElement))
        for value in values {
            writer.writeBE(Int32(value.count))
            writer.write(value)
        }
        return writer.toArray()
    }

    static func texts(_ values: [String]) -> [UInt8] { collection(values.map { text($0) }) }

    static func textMap(_ map: [String: String]) -> [UInt8] {
        collection(map.sorted { $0.key < $1.key }.flatMap { [text($0.key), text($0.value)] }, valuesPerElement: 2)
    }

    private static func bigEndian<T: FixedWidthInteger & BitwiseCopyable>(_ value: T) -> [UInt8] {
        var writer = ByteWriter(capacity: 16)
        writer.writeBE(value)
        return writer.toArray()
    }
}

/// Reads elements and slices of a serialized collection.
enum CollectionAccess {
    /// Returns a map's value for the key, a set's element equal to the key, or a list's element at the index; nil if
    /// there is none.
    static func element(of collection: [UInt8], key: [UInt8], type: CQLType) throws(ServerError) -> [UInt8]? {
        switch type.unfrozen {
        case .map(let keyType, _):
            let parts = try values(collection, perElement: 2)
            for index in stride(from: 0, to: parts.count - 1, by: 2) where keyType.compare(parts[index], key) == 0 {
                return parts[index + 1]
            }
            return nil
        case .set(let element):
            return try values(collection, perElement: 1).first { element.compare($0, key) == 0 }
        case .list:
            guard key.count == 4 else { return nil }
            let index = Int(Int32(bitPattern: key.reduce(0) { $0 << 8 | UInt32($1) }))
            let parts = try values(collection, perElement: 1)
            return parts.indices.contains(index) ? parts[index] : nil
        default: return nil
        }
    }

    /// Returns the elements or entries between the bounds, both inclusive.
    static func slice(of collection: [UInt8], from: [UInt8]?, to: [UInt8]?, type: CQLType) throws(ServerError)
        -> [UInt8]?
    {
        func isInside(_ key: [UInt8], _ type: CQLType) -> Bool {
            if let from, type.compare(key, from) < 0 { return false }
            if let to, type.compare(key, to) > 0 { return false }
            return true
        }
        switch type.unfrozen {
        case .map(let keyType, _):
            let parts = try values(collection, perElement: 2)
            var kept: [[UInt8]] = []
            for index in stride(from: 0, to: parts.count - 1, by: 2) where isInside(parts[index], keyType) {
                kept += parts[index...index + 1]
            }
            return NativeValue.collection(kept, valuesPerElement: 2)
        case .set(let element):
            return NativeValue.collection(try values(collection, perElement: 1).filter { isInside($0, element) })
        default: return nil
        }
    }

    /// All values in order; the keys and values of a map alternate.
    static func values(_ collection: [UInt8], perElement: Int) throws(ServerError) -> [[UInt8]] {
        var result: [[UInt8]] = []
        do throws(ValueError) {
            try collection.withUnsafeBytesTyped { (raw) throws(ValueError) in
                var reader = try CollectionReader(raw, name: "collection", valuesPerElement: perElement)
                while let value = try reader.next() { result.append([UInt8](value)) }
            }
        } catch { throw error.serverError }
        return result
    }
}
