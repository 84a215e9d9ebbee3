/// Formats floating-point numbers as Java does, and so Cassandra's JSON, errors and DESCRIBE.
public enum JavaNumber {
    public static func text(_ value: Double) -> String {
        text(value.description, magnitude: value.magnitude, isFinite: value.isFinite)
    }

    public static func text(_ value: Float) -> String {
        text(value.description, magnitude: Double(value.magnitude), isFinite: value.isFinite)
    }

    private static func text(_ shortest: String, magnitude: Double, isFinite: Bool) -> String {
        guard isFinite else {
            return shortest == "nan" ? "NaN" : shortest.hasPrefix("-") ? "-Infinity" : "Infinity"
        }
        // Swift's and Java's digits are the same (the shortest that round-trip); only the notation differs: Java writes
        // numbers from 1e-3 to below 1e7 without exponent.
        let isNegative = shortest.hasPrefix("-")
        let unsigned = isNegative ? shortest.dropFirst() : Substring(shortest)
        let parts = unsigned.split(separator: "e", omittingEmptySubsequences: false)
        let mantissa = parts[0].split(separator: ".", omittingEmptySubsequences: false)
        let whole = String(mantissa[0])
        let fraction = mantissa.count > 1 ? String(mantissa[1]) : ""
        var exponent = parts.count > 1 ? Int(parts[1]) ?? 0 : 0
        var digits = whole + (fraction == "0" ? "" : fraction)
        var point = whole.count + exponent
        let leadingZeros = digits.prefix { $0 == "0" }.count
        if leadingZeros == digits.count { return isNegative ? "-0.0" : "0.0" }
        digits.removeFirst(leadingZeros)
        point -= leadingZeros
        while digits.count > 1, digits.last == "0" { digits.removeLast() }
        var result: String
        if magnitude >= 1e-3 && magnitude < 1e7 {
            if point <= 0 {
                result = "0." + String(repeating: "0", count: -point) + digits
            } else if digits.count <= point {
                result = digits + String(repeating: "0", count: point - digits.count) + ".0"
            } else {
                result = digits.prefix(point) + "." + digits.dropFirst(point)
            }
        } else {
            exponent = point - 1
            let rest = digits.dropFirst()
            result = "\(digits.prefix(1)).\(rest.isEmpty ? "0" : rest)E\(exponent)"
        }
        if isNegative { result = "-" + result }
        return result
    }
}
