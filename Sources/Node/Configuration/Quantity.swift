/// Parses and prints sizes and durations with units, as in the configuration.
enum Quantity {
    private static let sizes: [(String, Int)] = [
        ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000),
        ("B", 1),
    ]
    private static let durations: [(String, Int)] = [
        ("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1000), ("us", 1),
    ]

    /// Parses a number with at most six decimals and multiplies it by the unit's factor; nil if invalid or too large.
    private static func scaled(_ number: Substring, by factor: Int) -> Int? {
        let parts = number.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count <= 2, let first = parts.first, !first.isEmpty,
            first.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let whole = Int(first)
        else { return nil }
        let (product, overflow) = whole.multipliedReportingOverflow(by: factor)
        guard !overflow else { return nil }
        guard parts.count == 2 else { return product }
        guard (1...6).contains(parts[1].utf8.count), parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let decimals = Int(parts[1])
        else { return nil }
        var power = 1
        for _ in parts[1].utf8 { power *= 10 }
        let (fraction, fractionOverflow) = decimals.multipliedReportingOverflow(by: factor)
        guard !fractionOverflow else { return nil }
        let (sum, sumOverflow) = product.addingReportingOverflow(fraction / power)
        return sumOverflow ? nil : sum
    }

    private static func split(_ text: String) -> (number: Substring, unit: Substring) {
        let trimmed = text.drop { $0 == " " }
        let number = trimmed.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        let unit = trimmed[number.endIndex...].drop { $0 == " " }
        return (number, unit)
    }

    /// Parses a size in bytes; the unit is optional. Nil if invalid or negative.
    static func bytes(_ text: String) -> Int? {
        let (number, unit) = split(text)
        if unit.isEmpty { return scaled(number, by: 1) }
        guard let factor = sizes.first(where: { $0.0 == unit })?.1 else { return nil }
        return scaled(number, by: factor)
    }

    /// Parses a duration; the unit is required, except for zero.
    static func duration(_ text: String) -> Duration? {
        let (number, unit) = split(text)
        if unit.isEmpty { return scaled(number, by: 1) == 0 ? .zero : nil }
        guard let factor = durations.first(where: { $0.0 == unit })?.1, let microseconds = scaled(number, by: factor)
        else { return nil }
        return .microseconds(microseconds)
    }

    /// The shortest exact form of a size.
    static func text(bytes: Int) -> String {
        guard bytes > 0 else { return "0" }
        for (unit, factor) in sizes.prefix(3) where bytes % factor == 0 { return "\(bytes / factor)\(unit)" }
        return "\(bytes)B"
    }

    /// A duration in the largest of s, ms and us that is exact.
    static func text(duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        let microseconds = Int(seconds) * 1_000_000 + Int(attoseconds / 1_000_000_000_000)
        if microseconds % 1_000_000 == 0 { return "\(microseconds / 1_000_000)s" }
        return microseconds % 1000 == 0 ? "\(microseconds / 1000)ms" : "\(microseconds)us"
    }
}
