/// Conversion of dates, times and timestamps from and to text.
public enum DateTimeText {
    private static let nanosecondsPerDay: Int64 = 86_400_000_000_000

    // MARK: date: days since 1970 plus 2^31

    /// Parses `-5877641-06-23` to `5881580-07-11`, or the stored number itself.
    public static func parseDate(_ text: String) throws(ValueError) -> UInt32 {
        if !text.isEmpty, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
            guard let raw = UInt32(text) else { throw .invalid("Input out of bounds: \(text)") }
            return raw
        }
        var scanner = DigitScanner(text)
        let isNegative = scanner.take("-")
        if let year = scanner.number(1, 7), scanner.take("-"), let month = scanner.number(1, 2), scanner.take("-"),
            let day = scanner.number(1, 2), scanner.isAtEnd
        {
            let date = CalendarDate(year: isNegative ? -year : year, month: month, day: day)
            if date.exists, let raw = UInt32(exactly: date.daysSinceEpoch + (1 << 31)) { return raw }
        }
        throw .invalid("Unable to coerce '\(text)' to a formatted date (long)")
    }

    public static func date(_ raw: UInt32) -> String { date(CalendarDate(daysSinceEpoch: Int(raw) - (1 << 31))) }

    private static func date(_ date: CalendarDate) -> String {
        "\(padded(date.year, 4))-\(padded(date.month, 2))-\(padded(date.day, 2))"
    }

    // MARK: time: nanoseconds since midnight

    /// Parses `hh:mm:ss[.fffffffff]`, or nanoseconds as a number.
    public static func parseTime(_ text: String) throws(ValueError) -> Int64 {
        if !text.isEmpty, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
            guard let raw = Int64(text), raw < nanosecondsPerDay else {
                throw .invalid("Input long out of bounds: \(text)")
            }
            return raw
        }
        var scanner = DigitScanner(text)
        if let hour = scanner.number(1, 2), scanner.take(":"), let minute = scanner.number(1, 2), scanner.take(":"),
            let second = scanner.number(1, 2), hour < 24, minute < 60, second < 60
        {
            var nanoseconds = 0
            if scanner.take(".") {
                guard let fraction = scanner.nanoseconds() else {
                    throw .invalid("Unable to coerce '\(text)' to a formatted time (long)")
                }
                nanoseconds = fraction
            }
            if scanner.isAtEnd { return Int64((hour * 60 + minute) * 60 + second) * 1_000_000_000 + Int64(nanoseconds) }
        }
        throw .invalid("Unable to coerce '\(text)' to a formatted time (long)")
    }

    /// Formats a time, always with nine fraction digits.
    public static func time(_ nanoseconds: Int64) -> String {
        guard nanoseconds >= 0, nanoseconds < nanosecondsPerDay else { return String(nanoseconds) }
        let seconds = Int(nanoseconds / 1_000_000_000)
        return
            "\(padded(seconds / 3600, 2)):\(padded(seconds / 60 % 60, 2)):\(padded(seconds % 60, 2)).\(padded(Int(nanoseconds % 1_000_000_000), 9))"
    }

    // MARK: timestamp: milliseconds since 1970

    /// Parses milliseconds, or `yyyy-mm-dd[( |T)hh:mm[:ss[.f]]][zone]` where the zone is `Z`, `UTC`, `GMT` or
    /// `(+|-)hh[[:]mm]`, by default UTC.
    public static func parseTimestamp(_ text: String) throws(ValueError) -> Int64 {
        let isNumber = text.utf8.dropFirst(text.hasPrefix("-") ? 1 : 0).allSatisfy { (0x30...0x39).contains($0) }
        if isNumber && text != "-" && !text.isEmpty {
            guard let milliseconds = Int64(text) else {
                throw .invalid("Unable to make long (for date) from: '\(text)'")
            }
            return milliseconds
        }
        guard let milliseconds = parseFormattedTimestamp(text) else {
            throw .invalid("Unable to parse a date/time from '\(text)'")
        }
        return milliseconds
    }

    private static func parseFormattedTimestamp(_ text: String) -> Int64? {
        var scanner = DigitScanner(text)
        let isNegative = scanner.take("-")
        guard let year = scanner.number(1, 9), scanner.take("-"), let month = scanner.number(1, 2), scanner.take("-"),
            let day = scanner.number(1, 2)
        else { return nil }
        let date = CalendarDate(year: isNegative ? -year : year, month: month, day: day)
        guard date.exists else { return nil }
        var milliseconds = date.daysSinceEpoch * 86_400_000
        if scanner.take("T")
            || scanner.peek == 0x20 && scanner.take(" ") && scanner.peek.map({ (0x30...0x39).contains($0) }) == true
        {
            guard let hour = scanner.number(1, 2), scanner.take(":"), let minute = scanner.number(1, 2), hour < 24,
                minute < 60
            else {
                return nil
            }
            milliseconds += (hour * 60 + minute) * 60_000
            if scanner.take(":") {
                guard let second = scanner.number(1, 2), second < 60 else { return nil }
                milliseconds += second * 1000
                if scanner.take(".") {
                    guard let fraction = scanner.nanoseconds() else { return nil }
                    milliseconds += fraction / 1_000_000
                }
            }
        }
        guard let offset = zone(&scanner) else { return nil }
        return Int64(milliseconds - offset * 60_000)
    }

    /// Reads the offset east of UTC in minutes; nil when the rest is not a zone.
    private static func zone(_ scanner: inout DigitScanner) -> Int? {
        while scanner.take(" ") {}
        if scanner.isAtEnd { return 0 }
        if scanner.take("Z") { return scanner.isAtEnd ? 0 : nil }
        if scanner.take("U") { return scanner.take("T") && scanner.take("C") && scanner.isAtEnd ? 0 : nil }
        if scanner.take("G") { return scanner.take("M") && scanner.take("T") && scanner.isAtEnd ? 0 : nil }
        let isWest = scanner.take("-")
        guard isWest || scanner.take("+"), let hours = scanner.number(2, 2) else { return nil }
        _ = scanner.take(":")
        var minutes = 0
        if !scanner.isAtEnd {
            guard let value = scanner.number(2, 2), value < 60 else { return nil }
            minutes = value
        }
        guard scanner.isAtEnd, hours <= 18 else { return nil }
        return (hours * 60 + minutes) * (isWest ? -1 : 1)
    }

    private static func parts(_ milliseconds: Int64) -> (date: String, time: String, fraction: Int) {
        let days = floorDivide(milliseconds, 86_400_000)
        // The first day of all may begin before the least number.
        let rest = Int(milliseconds &- days &* 86_400_000)
        let seconds = rest / 1000
        return (
            date(CalendarDate(daysSinceEpoch: Int(days))),
            "\(padded(seconds / 3600, 2)):\(padded(seconds / 60 % 60, 2)):\(padded(seconds % 60, 2))", rest % 1000
        )
    }

    static func floorDivide(_ a: Int64, _ b: Int64) -> Int64 {
        let quotient = a / b
        return a % b < 0 ? quotient - 1 : quotient
    }

    /// Formats as `2013-01-01 05:00:00.000Z`, as Cassandra's JSON does.
    public static func jsonTimestamp(_ milliseconds: Int64) -> String {
        let (date, time, fraction) = parts(milliseconds)
        return "\(date) \(time).\(padded(fraction, 3))Z"
    }

    /// Formats as `2013-01-01T05:00:00.000Z`, as Cassandra's literals and casts to text do.
    public static func isoTimestamp(_ milliseconds: Int64) -> String {
        let (date, time, fraction) = parts(milliseconds)
        return "\(date)T\(time).\(padded(fraction, 3))Z"
    }

    /// Formats as `2013-01-01 05:00:00.000000+0000`, as cqlsh does.
    public static func displayTimestamp(_ milliseconds: Int64) -> String {
        let (date, time, fraction) = parts(milliseconds)
        return "\(date) \(time).\(padded(fraction, 3))000+0000"
    }
}
