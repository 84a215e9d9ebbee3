import Primitives

/// A text form for values.
public enum ValueStyle: Sendable, Equatable {
    /// As cqlsh prints values in a table: text unquoted at the top level and quoted inside collections; Python's
    /// `True`.
    case shell(floatDigits: Int)
    /// As cqlsh's COPY writes values to a file; `bytes(fromPlainText:)` reads it back.
    case csv
    /// As a CQL literal.
    case literal
}

extension CQLType {
    /// Returns the value as text.
    /// - Parameter bytes: nil gives `null`.
    public func text(_ bytes: UnsafeRawBufferPointer?, style: ValueStyle) -> String {
        guard let bytes else { return "null" }
        return text(bytes, style, isNested: false)
    }

    /// Returns a value given as an array as text.
    public func text(_ bytes: [UInt8]?, style: ValueStyle) -> String {
        guard let bytes else { return "null" }
        return bytes.withUnsafeBytes { text($0, style, isNested: false) }
    }

    private func text(_ bytes: UnsafeRawBufferPointer, _ style: ValueStyle, isNested: Bool) -> String {
        switch self {
        case .frozen(let inner): return inner.text(bytes, style, isNested: isNested)
        case .list(let element):
            return "[" + Self.elementTexts(bytes, style, element, element).joined(separator: ", ") + "]"
        case .set(let element):
            return "{" + Self.elementTexts(bytes, style, element, element).joined(separator: ", ") + "}"
        case .map(let key, let value):
            let texts = Self.elementTexts(bytes, style, key, value, valuesPerElement: 2)
            let entries = stride(from: 0, to: texts.count - texts.count % 2, by: 2).map {
                "\(texts[$0]): \(texts[$0 + 1])"
            }
            return "{" + entries.joined(separator: ", ") + "}"
        case .tuple(let fields):
            var reader = TupleReader(bytes)
            let texts = fields.map { field -> String in
                guard let value = (try? reader.next()) ?? nil else { return "null" }  // show a damaged field as null
                return field.text(value, style, isNested: true)
            }
            return "(" + texts.joined(separator: ", ") + ")"
        default: break
        }
        switch (self, style) {
        case (.text, _), (.ascii, _):
            let text = String(decoding: bytes, as: UTF8.self)
            return isNested || style == .literal ? Identifier.stringLiteral(text) : text
        case (.boolean, .shell), (.boolean, .csv): return bytes.isEmpty ? "" : bytes[0] == 0 ? "False" : "True"
        case (.timestamp, .shell), (.timestamp, .csv):
            guard let value: Int64 = Self.integer(bytes) else { return "" }
            let text = DateTimeText.displayTimestamp(value)
            return isNested ? "'\(text)'" : text
        case (.inet, _):
            let text = InternetAddress.text(bytes)
            return isNested || style == .literal ? "'\(text)'" : text
        case (.timestamp, .literal), (.date, .literal), (.time, .literal): return "'\(scalarText(bytes))'"
        case (.date, _), (.time, _): return isNested ? "'\(scalarText(bytes))'" : scalarText(bytes)
        case (.double, .shell(let digits)):
            guard let bits: UInt64 = Self.integer(bytes) else { return "" }
            return Self.rounded(Double(bitPattern: bits), digits)
        case (.float, .shell(let digits)):
            guard let bits: UInt32 = Self.integer(bytes) else { return "" }
            return Self.rounded(Double(Float(bitPattern: bits)), digits)
        default: return scalarText(bytes)
        }
    }

    private static func elementTexts(
        _ bytes: UnsafeRawBufferPointer, _ style: ValueStyle, _ even: CQLType, _ odd: CQLType, valuesPerElement: Int = 1
    ) -> [String] {
        var texts: [String] = []
        forEachElement(bytes, valuesPerElement: valuesPerElement) { index, value in
            texts.append((index % 2 == 0 ? even : odd).text(value, style, isNested: true))
        }
        return texts
    }

    /// Formats like C's `%.*g`, as cqlsh does with floating-point numbers.
    private static func rounded(_ value: Double, _ digits: Int) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Infinity" : "Infinity" }
        if value == 0 { return value.sign == .minus ? "-0" : "0" }
        let digits = max(1, min(digits, 17))
        guard let exact = BigDecimal(value.magnitude.description) else { return JavaNumber.text(value) }
        var exponent = exact.precision - Int(exact.scale) - 1
        guard
            var rounded = exact.divided(
                by: BigDecimal(unscaled: BigInteger(1), scale: 0), scale: digits - 1 - exponent, halfEven: true)
        else { return JavaNumber.text(value) }
        exponent = rounded.precision - Int(rounded.scale) - 1
        rounded = rounded.withoutTrailingZeros
        let sign = value < 0 ? "-" : ""
        let text = rounded.unscaled.description
        if exponent < -4 || exponent >= digits {
            let mantissa = text.utf8.count > 1 ? "\(text.prefix(1)).\(text.dropFirst())" : text
            return
                "\(sign)\(mantissa)e\(exponent < 0 ? "-" : "+")\(exponent.magnitude < 10 ? "0" : "")\(exponent.magnitude)"
        }
        if exponent < 0 { return sign + "0." + String(repeating: "0", count: -exponent - 1) + text }
        if text.utf8.count <= exponent + 1 {
            return sign + text + String(repeating: "0", count: exponent + 1 - text.utf8.count)
        }
        return sign + text.prefix(exponent + 1) + "." + text.dropFirst(exponent + 1)
    }
}
