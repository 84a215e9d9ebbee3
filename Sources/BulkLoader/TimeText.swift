import DataModel

/// Parses dates and times from bytes.
enum TimeText {
    /// Returns the days since 1970 of `yyyy-mm-dd`; nil for anything else.
    static func date(_ text: UnsafeRawBufferPointer) -> Int? {
        guard text.count == 10 else { return nil }
        return days(text)
    }

    /// Returns the milliseconds since 1970 of `yyyy-mm-dd[( |T)hh:mm[:ss[.f]]][Z]`, or of any other text CQL accepts as
    /// a timestamp.
    static func timestamp(_ text: UnsafeRawBufferPointer) -> Int64? {
        var end = text.count
        if end > 0, text[end - 1] == UInt8(ascii: "Z") { end -= 1 }
        if end == 19, let days = days(text), text[10] == UInt8(ascii: " ") || text[10] == UInt8(ascii: "T"),
            text[13] == UInt8(ascii: ":"),
            text[16] == UInt8(ascii: ":"), let hour = two(text, 11), let minute = two(text, 14),
            let second = two(text, 17), hour < 24,
            minute < 60, second < 60
        {
            return Int64(days) * 86_400_000 + Int64((hour * 60 + minute) * 60 + second) * 1000
        }
        do throws(ValueError) {
            return try DateTimeText.parseTimestamp(String(decoding: text, as: UTF8.self))
        } catch {
            return nil
        }
    }

    @inline(__always) private static func two(_ text: UnsafeRawBufferPointer, _ offset: Int) -> Int? {
        let tens = text[offset] &- 0x30
        let ones = text[offset + 1] &- 0x30
        return tens < 10 && ones < 10 ? Int(tens) * 10 + Int(ones) : nil
    }

    /// Returns the days since 1970 of the date in the first ten bytes (Hinnant, "chrono-Compatible Low-Level Date
    /// Algorithms").
    private static func days(_ text: UnsafeRawBufferPointer) -> Int? {
        guard text[4] == UInt8(ascii: "-"), text[7] == UInt8(ascii: "-"), let century = two(text, 0),
            let years = two(text, 2),
            let month = two(text, 5), let day = two(text, 8), (1...12).contains(month), day >= 1
        else { return nil }
        let year = century * 100 + years
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        let length = month == 2 ? (isLeap ? 29 : 28) : month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31
        guard day <= length else { return nil }
        let shifted = month <= 2 ? year - 1 : year
        let era = (shifted >= 0 ? shifted : shifted - 399) / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }
}
