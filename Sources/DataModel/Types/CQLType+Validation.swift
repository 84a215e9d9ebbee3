import Primitives

extension CQLType {
    /// The maximum size of a varint, or of a decimal's unscaled value, in bytes: conversion to text takes quadratic
    /// time.
    public static let maximumVarintBytes = 16_384

    /// Checks that `bytes` are a value of the type. Zero bytes are the empty value, which most types have.
    /// - Throws: when they are not, with the reason.
    public func validate(_ bytes: UnsafeRawBufferPointer) throws(ValueError) {
        func check(_ holds: Bool, _ message: @autoclosure () -> String) throws(ValueError) {
            if !holds { throw .invalid(message()) }
        }
        let count = bytes.count
        switch self {
        case .text: try check(Self.isUTF8(bytes), "String didn't validate.")
        case .int: try check(count == 4 || count == 0, "Expected 4 or 0 byte int (\(count))")
        case .bigint, .counter: try check(count == 8 || count == 0, "Expected 8 or 0 byte long (\(count))")
        case .blob: break
        case .ascii:
            if let wrong = bytes.first(where: { $0 > 127 }) {
                throw .invalid("Invalid byte for ascii: \(Int8(bitPattern: wrong))")
            }
        case .boolean: try check(count <= 1, "Expected 1 or 0 byte value (\(count))")
        case .date: try check(count == 4, "Expected 4 byte long for date (\(count))")
        case .decimal:
            try check(count == 0 || count >= 4, "Expected 0 or at least 4 bytes (\(count))")
            try check(
                count - 4 <= Self.maximumVarintBytes,
                "Decimal of \(count) bytes exceeds the limit of \(Self.maximumVarintBytes)")
        case .double: try check(count == 8 || count == 0, "Expected 8 or 0 byte value for a double (\(count))")
        case .duration: _ = try DurationValue(native: bytes)
        case .float: try check(count == 4 || count == 0, "Expected 4 or 0 byte value for a float (\(count))")
        case .inet:
            try check(
                count == 4 || count == 16 || count == 0,
                "Expected 4 or 16 byte inetaddress; got \(HexText.encode(bytes.prefix(64)))")
        case .smallint: try check(count == 2, "Expected 2 bytes for a smallint (\(count))")
        case .time:
            try check(count == 8, "Expected 8 byte long for time (\(count))")
        case .timestamp: try check(count == 8 || count == 0, "Expected 8 or 0 byte long for date (\(count))")
        case .timeuuid:
            try check(count == 16 || count == 0, "UUID should be 16 or 0 bytes (\(count))")
            try check(count == 0 || bytes[6] >> 4 == 1, "Invalid version for TimeUUID type.")
        case .tinyint: try check(count == 1, "Expected 1 byte for a tinyint (\(count))")
        case .uuid: try check(count == 16 || count == 0, "UUID should be 16 or 0 bytes (\(count))")
        case .varint:
            try check(
                count <= Self.maximumVarintBytes,
                "Varint of \(count) bytes exceeds the limit of \(Self.maximumVarintBytes)")
        case .frozen(let inner): try inner.validate(bytes)
        case .list(let element): try Self.validateElements(bytes, name: "list", of: element)
        case .set(let element): try Self.validateElements(bytes, name: "set", of: element)
        case .map(let key, let value):
            var reader = try CollectionReader(bytes, name: "map", valuesPerElement: 2)
            while let entry = try reader.next() {
                try key.validate(entry)
                guard let held = try reader.next() else { throw .invalid("Not enough bytes to read a map") }
                try value.validate(held)
            }
            try reader.finish()
        case .tuple(let fields):
            var reader = TupleReader(bytes)
            for field in fields {
                guard let value = try reader.next() else { break }
                if let value { try field.validate(value) }
            }
            try check(reader.isAtEnd, "Invalid remaining data after end of tuple value")
        }
    }

    /// Validates a value given as an array.
    public func validate(_ bytes: [UInt8]) throws(ValueError) {
        try bytes.withUnsafeBytesTyped { (raw) throws(ValueError) in try validate(raw) }
    }

    private static func validateElements(
        _ bytes: UnsafeRawBufferPointer, name: String, of element: CQLType
    ) throws(ValueError) {
        var reader = try CollectionReader(bytes, name: name)
        while let value = try reader.next() { try element.validate(value) }
        try reader.finish()
    }

    /// Whether the bytes are valid UTF-8 (RFC 3629: no surrogates, no overlong forms).
    public static func isUTF8(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var index = 0
        let count = bytes.count
        while index < count {
            // Eight ASCII bytes at a time.
            if count - index >= 8 {
                let word = bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                if word & 0x8080_8080_8080_8080 == 0 {
                    index += 8
                    continue
                }
            }
            let lead = bytes[index]
            if lead < 0x80 {
                index += 1
                continue
            }
            let length: Int
            var lowest: UInt8 = 0x80
            var highest: UInt8 = 0xbf
            switch lead {
            case 0xc2...0xdf: length = 2
            case 0xe0: (length, lowest) = (3, 0xa0)
            case 0xed: (length, highest) = (3, 0x9f)
            case 0xe1...0xef: length = 3
            case 0xf0: (length, lowest) = (4, 0x90)
            case 0xf4: (length, highest) = (4, 0x8f)
            case 0xf1...0xf3: length = 4
            default: return false
            }
            guard count - index >= length, bytes[index + 1] >= lowest, bytes[index + 1] <= highest else { return false }
            for place in 2..<max(length, 2) where bytes[index + place] & 0xc0 != 0x80 { return false }
            index += length
        }
        return true
    }
}
