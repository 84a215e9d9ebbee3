import Primitives

#if canImport(Glibc)
    import Glibc
#endif

extension CQLType {
    /// Compares two valid values; returns a negative number, zero or a positive number. The empty value comes first.
    ///
    /// Invalid values compare as bytes; nothing is read out of bounds.
    public func compare(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Int {
        switch self {
        case .text, .ascii, .blob, .inet, .duration, .date: return Self.compareBytes(a, b)
        case .boolean:
            guard a.count == 1, b.count == 1 else { return Self.compareBytes(a, b) }
            return (a[0] == 0 ? 0 : 1) - (b[0] == 0 ? 0 : 1)
        case .int: return Self.compareIntegers(a, b, Int32.self)
        case .bigint, .counter, .timestamp, .time: return Self.compareIntegers(a, b, Int64.self)
        case .smallint: return Self.compareIntegers(a, b, Int16.self)
        case .tinyint: return Self.compareIntegers(a, b, Int8.self)
        case .double:
            guard a.count == 8, b.count == 8 else { return Self.compareBytes(a, b) }
            return Self.compareFloats(
                Double(bitPattern: UInt64(bigEndian: a.loadUnaligned(as: UInt64.self))),
                Double(bitPattern: UInt64(bigEndian: b.loadUnaligned(as: UInt64.self))))
        case .float:
            guard a.count == 4, b.count == 4 else { return Self.compareBytes(a, b) }
            return Self.compareFloats(
                Float(bitPattern: UInt32(bigEndian: a.loadUnaligned(as: UInt32.self))),
                Float(bitPattern: UInt32(bigEndian: b.loadUnaligned(as: UInt32.self))))
        case .uuid, .timeuuid: return Self.compareUUIDs(a, b)
        case .varint:
            guard !a.isEmpty, !b.isEmpty else { return Self.compareBytes(a, b) }
            return Self.compareTwosComplement(a, b)
        case .decimal:
            guard a.count >= 4, b.count >= 4 else { return Self.compareBytes(a, b) }
            return BigDecimal(native: a).compare(BigDecimal(native: b))
        case .frozen(let inner): return inner.compare(a, b)
        case .list(let element), .set(let element):
            return Self.compareCollections(a, b, element, element, valuesPerElement: 1)
        case .map(let key, let value): return Self.compareCollections(a, b, key, value, valuesPerElement: 2)
        case .tuple(let fields): return Self.compareTuples(a, b, fields)
        }
    }

    /// Compares two values given as arrays.
    public func compare(_ a: [UInt8], _ b: [UInt8]) -> Int {
        a.withUnsafeBytes { left in b.withUnsafeBytes { right in compare(left, right) } }
    }

    static func compareBytes(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Int {
        let shared = min(a.count, b.count)
        if shared > 0, let left = a.baseAddress, let right = b.baseAddress {
            let order = memcmp(left, right, shared)
            if order != 0 { return Int(order) }
        }
        return a.count - b.count
    }

    @inline(__always) private static func compareIntegers<T: FixedWidthInteger & BitwiseCopyable>(
        _ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer, _ type: T.Type
    ) -> Int {
        guard a.count == MemoryLayout<T>.size, b.count == MemoryLayout<T>.size else { return compareBytes(a, b) }
        let left = T(bigEndian: a.loadUnaligned(as: T.self))
        let right = T(bigEndian: b.loadUnaligned(as: T.self))
        return left < right ? -1 : left > right ? 1 : 0
    }

    /// As in Java: NaN is greater than everything and equal to itself; -0 is less than 0.
    private static func compareFloats<T: BinaryFloatingPoint>(_ a: T, _ b: T) -> Int {
        if a < b { return -1 }
        if a > b { return 1 }
        if a.isNaN || b.isNaN { return (a.isNaN ? 1 : 0) - (b.isNaN ? 1 : 0) }
        if a == 0 { return (a.sign == .minus ? 0 : 1) - (b.sign == .minus ? 0 : 1) }
        return 0
    }

    /// Compares by version; for version 1 by time, then by bytes as signed numbers; for others by bytes.
    private static func compareUUIDs(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Int {
        guard a.count == 16, b.count == 16 else { return compareBytes(a, b) }
        func half(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> UInt64 {
            UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        }
        let left = UUID(high: half(a, 0), low: half(a, 8))
        let right = UUID(high: half(b, 0), low: half(b, 8))
        if left.version != right.version { return left.version - right.version }
        guard left.version == 1 else { return left < right ? -1 : left == right ? 0 : 1 }
        if left.ticks != right.ticks { return left.ticks < right.ticks ? -1 : 1 }
        // Compares bytes as signed numbers: with all sign bits flipped, the unsigned order is the signed order.
        let flip: UInt64 = 0x8080_8080_8080_8080
        let (x, y) = (left.low ^ flip, right.low ^ flip)
        return x < y ? -1 : x > y ? 1 : 0
    }

    private static func compareTwosComplement(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Int {
        let (negativeA, negativeB) = (a[0] >= 0x80, b[0] >= 0x80)
        if negativeA != negativeB { return negativeA ? -1 : 1 }
        let fill: UInt8 = negativeA ? 0xff : 0
        let trimmedA = a.drop { $0 == fill }
        let trimmedB = b.drop { $0 == fill }
        if trimmedA.count != trimmedB.count { return (trimmedA.count - trimmedB.count) * (negativeA ? -1 : 1) }
        return compareBytes(UnsafeRawBufferPointer(rebasing: trimmedA), UnsafeRawBufferPointer(rebasing: trimmedB))
    }

    private static func compareCollections(
        _ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer, _ even: CQLType, _ odd: CQLType, valuesPerElement: Int
    ) -> Int {
        do throws(ValueError) {
            var left = try CollectionReader(a, name: "collection", valuesPerElement: valuesPerElement)
            var right = try CollectionReader(b, name: "collection", valuesPerElement: valuesPerElement)
            var isEven = true
            while true {
                guard let x = try left.next() else { return right.remaining == 0 ? 0 : -1 }
                guard let y = try right.next() else { return 1 }
                let order = (isEven ? even : odd).compare(x, y)
                if order != 0 { return order }
                isEven = valuesPerElement == 1 || !isEven
            }
        } catch { return compareBytes(a, b) }
    }

    private static func compareTuples(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer, _ fields: [CQLType])
        -> Int
    {
        do throws(ValueError) {
            var left = TupleReader(a)
            var right = TupleReader(b)
            for field in fields {
                let x = try left.next() ?? nil
                let y = try right.next() ?? nil
                guard let x, let y else {
                    if (x == nil) != (y == nil) { return x == nil ? -1 : 1 }
                    continue
                }
                let order = field.compare(x, y)
                if order != 0 { return order }
            }
            return 0
        } catch { return compareBytes(a, b) }
    }
}
