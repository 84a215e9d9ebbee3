/// A `duration`: months, days and nanoseconds, which are not convertible into one another and have the same sign.
public struct DurationValue: Sendable, Hashable {
    public var months: Int32
    public var days: Int32
    public var nanoseconds: Int64

    public init(months: Int32, days: Int32, nanoseconds: Int64) {
        self.months = months
        self.days = days
        self.nanoseconds = nanoseconds
    }

    // MARK: Native bytes: three zigzag vints (native_protocol_v5.spec, section 3 and 6.8)

    public init(native bytes: UnsafeRawBufferPointer) throws(ValueError) {
        guard bytes.count >= 3 else { throw .invalid("Expected at least 3 bytes for a duration (\(bytes.count))") }
        var offset = 0
        let months = try Self.readVint(bytes, &offset)
        let days = try Self.readVint(bytes, &offset)
        let nanoseconds = try Self.readVint(bytes, &offset)
        guard let monthsValue = Int32(exactly: months) else {
            throw .invalid("The duration months must be a 32 bits integer but was: \(months)")
        }
        guard let daysValue = Int32(exactly: days) else {
            throw .invalid("The duration days must be a 32 bits integer but was: \(days)")
        }
        guard offset == bytes.count else { throw .invalid("Unexpected extraneous bytes after duration value") }
        guard (months >= 0 && days >= 0 && nanoseconds >= 0) || (months <= 0 && days <= 0 && nanoseconds <= 0) else {
            throw .invalid(
                "The duration months, days and nanoseconds must be all of the same sign (\(months), \(days), \(nanoseconds))"
            )
        }
        self.init(months: monthsValue, days: daysValue, nanoseconds: nanoseconds)
    }

    private static func readVint(_ bytes: UnsafeRawBufferPointer, _ offset: inout Int) throws(ValueError) -> Int64 {
        guard offset < bytes.count else { throw .invalid("Not enough bytes to read a duration") }
        let first = bytes[offset]
        let extra = (~first).leadingZeroBitCount
        guard bytes.count - offset > extra else { throw .invalid("Not enough bytes to read a duration") }
        var value = extra >= 7 ? 0 : UInt64(first & (0xff >> UInt8(extra + 1)))
        for index in 0..<extra { value = value << 8 | UInt64(bytes[offset + 1 + index]) }
        offset += extra + 1
        return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
    }

    private static func appendVint(_ value: Int64, to bytes: inout [UInt8]) {
        let zigzag = UInt64(bitPattern: (value << 1) ^ (value >> 63))
        let bits = 64 - zigzag.leadingZeroBitCount
        let extra = bits <= 7 ? 0 : min((bits - 1) / 7, 8)
        let mark: UInt8 = extra == 0 ? 0 : ~(0xff >> UInt8(extra))
        let top = extra == 8 ? 0 : UInt8(truncatingIfNeeded: zigzag >> UInt64(extra * 8))
        bytes.append(mark | top)
        for index in stride(from: extra - 1, through: 0, by: -1) {
            bytes.append(UInt8(truncatingIfNeeded: zigzag >> UInt64(index * 8)))
        }
    }

    public var native: [UInt8] {
        var bytes: [UInt8] = []
        Self.appendVint(Int64(months), to: &bytes)
        Self.appendVint(Int64(days), to: &bytes)
        Self.appendVint(nanoseconds, to: &bytes)
        return bytes
    }

    // MARK: Text

    private static let units: [(name: String, nanoseconds: Int64)] = [
        ("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1000),
        ("ns", 1),
    ]

    /// Parses `1y2mo3w4d5h6m7s8ms9us10ns` (units in this order, each at most once), `P1Y2M3DT4H5M6S`, `P3W` or
    /// `P0001-02-03T04:05:06`, each with an optional leading minus.
    public init(_ text: String) throws(ValueError) {
        let isNegative = text.hasPrefix("-")
        let body = isNegative ? String(text.dropFirst()) : text
        var builder = Builder(text: text)
        if body.hasPrefix("P") || body.hasPrefix("p") {
            try builder.parseISO(Array(body.utf8.dropFirst()))
        } else {
            try builder.parseUnits(Array(body.lowercased().utf8))
        }
        self.init(
            months: Int32(isNegative ? -builder.months : builder.months),
            days: Int32(isNegative ? -builder.days : builder.days),
            nanoseconds: isNegative ? -builder.nanoseconds : builder.nanoseconds)
    }

    private struct Builder {
        let text: String
        var months: Int64 = 0
        var days: Int64 = 0
        var nanoseconds: Int64 = 0
        var lastUnit = -1

        var failure: ValueError { .invalid("Unable to convert '\(text)' to a duration") }

        mutating func add(_ value: Int64, unit: Int, of months: Int64, _ days: Int64, _ nanoseconds: Int64)
            throws(ValueError)
        {
            guard unit > lastUnit else {
                throw .invalid(
                    unit == lastUnit
                        ? "Invalid duration. The \(Self.unitNames[unit]) are specified multiple times"
                        : "Invalid duration. The \(Self.unitNames[lastUnit]) should be after \(Self.unitNames[unit])")
            }
            lastUnit = unit
            func total(_ sum: Int64, _ factor: Int64, _ limit: Int64, _ name: String) throws(ValueError) -> Int64 {
                let (product, overflow) = value.multipliedReportingOverflow(by: factor)
                let (result, overflow2) = sum.addingReportingOverflow(product)
                guard !overflow, !overflow2, result <= limit else {
                    throw .invalid("Invalid duration. The total number of \(name) must be less or equal to \(limit)")
                }
                return result
            }
            self.months = try total(self.months, months, Int64(Int32.max), "months")
            self.days = try total(self.days, days, Int64(Int32.max), "days")
            self.nanoseconds = try total(self.nanoseconds, nanoseconds, Int64.max, "nanoseconds")
        }

        static let unitNames = [
            "years", "months", "weeks", "days", "hours", "minutes", "seconds", "milliseconds", "microseconds",
            "nanoseconds",
        ]

        mutating func number(_ bytes: [UInt8], _ offset: inout Int) throws(ValueError) -> Int64 {
            var value: Int64 = 0
            let start = offset
            while offset < bytes.count, (0x30...0x39).contains(bytes[offset]) {
                let (product, overflow) = value.multipliedReportingOverflow(by: 10)
                let (sum, overflow2) = product.addingReportingOverflow(Int64(bytes[offset] - 0x30))
                guard !overflow, !overflow2 else { throw failure }
                value = sum
                offset += 1
            }
            guard offset > start else { throw failure }
            return value
        }

        mutating func parseUnits(_ bytes: [UInt8]) throws(ValueError) {
            guard !bytes.isEmpty else { throw failure }
            var offset = 0
            while offset < bytes.count {
                let value = try number(bytes, &offset)
                let start = offset
                while offset < bytes.count, !(0x30...0x39).contains(bytes[offset]) { offset += 1 }
                let name = String(decoding: bytes[start..<offset], as: UTF8.self)
                switch name {
                case "y": try add(value, unit: 0, of: 12, 0, 0)
                case "mo": try add(value, unit: 1, of: 1, 0, 0)
                case "w": try add(value, unit: 2, of: 0, 7, 0)
                case "d": try add(value, unit: 3, of: 0, 1, 0)
                case "h": try add(value, unit: 4, of: 0, 0, 3_600_000_000_000)
                case "m": try add(value, unit: 5, of: 0, 0, 60_000_000_000)
                case "s": try add(value, unit: 6, of: 0, 0, 1_000_000_000)
                case "ms": try add(value, unit: 7, of: 0, 0, 1_000_000)
                case "us", "\u{b5}s", "\u{3bc}s": try add(value, unit: 8, of: 0, 0, 1000)
                case "ns": try add(value, unit: 9, of: 0, 0, 1)
                default: throw failure
                }
            }
        }

        /// Parses the part after the `P`.
        mutating func parseISO(_ bytes: [UInt8]) throws(ValueError) {
            if bytes.contains(0x2d) { return try parseAlternative(bytes) }
            guard !bytes.isEmpty else { throw failure }
            var offset = 0
            var isTime = false
            while offset < bytes.count {
                if bytes[offset] == 0x54 {
                    guard !isTime, offset + 1 < bytes.count else { throw failure }
                    isTime = true
                    offset += 1
                }
                let value = try number(bytes, &offset)
                guard offset < bytes.count else { throw failure }
                let unit = bytes[offset]
                offset += 1
                switch (unit, isTime) {
                case (0x59, false): try add(value, unit: 0, of: 12, 0, 0)
                case (0x4d, false): try add(value, unit: 1, of: 1, 0, 0)
                case (0x57, false): try add(value, unit: 2, of: 0, 7, 0)
                case (0x44, false): try add(value, unit: 3, of: 0, 1, 0)
                case (0x48, true): try add(value, unit: 4, of: 0, 0, 3_600_000_000_000)
                case (0x4d, true): try add(value, unit: 5, of: 0, 0, 60_000_000_000)
                case (0x53, true): try add(value, unit: 6, of: 0, 0, 1_000_000_000)
                default: throw failure
                }
            }
        }

        private mutating func parseAlternative(_ bytes: [UInt8]) throws(ValueError) {
            var scanner = DigitScanner(String(decoding: bytes, as: UTF8.self))
            guard let years = scanner.number(4, 4), scanner.take("-"), let months = scanner.number(2, 2),
                scanner.take("-"),
                let days = scanner.number(2, 2), scanner.take("T"), let hours = scanner.number(2, 2), scanner.take(":"),
                let minutes = scanner.number(2, 2), scanner.take(":"), let seconds = scanner.number(2, 2),
                scanner.isAtEnd
            else { throw failure }
            try add(Int64(years), unit: 0, of: 12, 0, 0)
            try add(Int64(months), unit: 1, of: 1, 0, 0)
            try add(Int64(days), unit: 3, of: 0, 1, 0)
            try add(Int64(hours), unit: 4, of: 0, 0, 3_600_000_000_000)
            try add(Int64(minutes), unit: 5, of: 0, 0, 60_000_000_000)
            try add(Int64(seconds), unit: 6, of: 0, 0, 1_000_000_000)
        }
    }
}

extension DurationValue: CustomStringConvertible {
    /// The value as `1y2mo3d4h5m6s7ms8us9ns`, without units that are zero; `0ns` when all are.
    public var description: String {
        var text = months < 0 || days < 0 || nanoseconds < 0 ? "-" : ""
        let start = text
        let months = self.months.magnitude
        if months >= 12 { text += "\(months / 12)y" }
        if months % 12 > 0 { text += "\(months % 12)mo" }
        if days != 0 { text += "\(days.magnitude)d" }
        var rest = nanoseconds.magnitude
        for (name, size) in Self.units {
            let count = rest / UInt64(size)
            if count > 0 { text += "\(count)\(name)" }
            rest %= UInt64(size)
        }
        return text == start ? "0ns" : text
    }
}
