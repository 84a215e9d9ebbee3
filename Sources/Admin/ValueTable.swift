import DataModel

/// Formats JSON answers as tables for people.
///
/// An object becomes a list of names and values, an array of objects a table with one line each. Nested values follow
/// under their names.
enum ValueTable {
    static func text(_ value: JSONValue) -> String {
        switch value {
        case .object(let members): object(members)
        case .array(let elements): array(elements)
        default: scalar("", value) + "\n"
        }
    }

    private static func object(_ members: [(name: String, value: JSONValue)]) -> String {
        var plain: [(String, String)] = []
        var nested = ""
        for member in members {
            switch member.value {
            case .object(let inner) where !inner.isEmpty: nested += "\n\(member.name)\n" + indented(object(inner))
            case .array(let elements) where elements.contains(where: isObject):
                nested += "\n\(member.name)\n" + indented(array(elements))
            default: plain.append((member.name, scalar(member.name, member.value)))
            }
        }
        let width = plain.map(\.0.count).max() ?? 0
        let lines = plain.map { name, value in
            name + String(repeating: " ", count: width - name.count) + "  " + value + "\n"
        }
        return lines.joined() + (plain.isEmpty ? String(nested.drop { $0 == "\n" }) : nested)
    }

    private static func isObject(_ value: JSONValue) -> Bool { if case .object = value { true } else { false } }

    private static func indented(_ text: String) -> String {
        text.split(separator: "\n").map { "  " + $0 + "\n" }.joined()
    }

    private static func array(_ elements: [JSONValue]) -> String {
        if elements.isEmpty { return "nothing to show\n" }
        var names: [String] = []
        for element in elements {
            guard case .object(let members) = element else { return elements.map { scalar("", $0) + "\n" }.joined() }
            for member in members where !names.contains(member.name) { names.append(member.name) }
        }
        let rows = elements.map { element -> [(text: String, isNumber: Bool)] in
            guard case .object(let members) = element else { return [] }
            return names.map { name in
                guard let value = members.last(where: { $0.name == name })?.value else { return ("", false) }
                if case .number = value { return (scalar(name, value), true) }
                return (scalar(name, value), false)
            }
        }
        let widths = names.indices.map { column in
            max(names[column].count, rows.map { $0[column].text.count }.max() ?? 0)
        }
        func line(_ cells: [(text: String, isNumber: Bool)]) -> String {
            var text = zip(cells, widths).map { cell, width in
                let blanks = String(repeating: " ", count: width - cell.text.count)
                return cell.isNumber ? blanks + cell.text : cell.text + blanks
            }.joined(separator: "  ")
            while text.hasSuffix(" ") { text.removeLast() }
            return text + "\n"
        }
        let areNumbers = names.indices.map { column in rows.contains { $0[column].isNumber } }
        return line(zip(names, areNumbers).map { ($0, $1) }) + rows.map(line).joined()
    }

    /// Formats a value on one line; sizes get a unit.
    private static func scalar(_ name: String, _ value: JSONValue) -> String {
        switch value {
        case .null: return "-"
        case .boolean(let flag): return flag ? "yes" : "no"
        case .string(let text): return text
        case .number(let text):
            let isSize = name.hasSuffix("bytes") || name.hasSuffix("_space")
            return isSize ? Int(text).map(size) ?? text : text
        case .array(let elements):
            return elements.isEmpty ? "none" : elements.map { scalar("", $0) }.joined(separator: ", ")
        case .object(let members):
            return members.map { "\($0.name)=\(scalar($0.name, $0.value))" }.joined(separator: " ")
        }
    }

    /// Formats a number of bytes, such as `1.5 MiB`.
    static func size(_ bytes: Int) -> String {
        if bytes.magnitude < 1024 { return "\(bytes) B" }
        var tenths = bytes
        var unit = 0
        let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
        var divisor = 1024
        while unit < units.count - 1, bytes.magnitude / UInt(divisor) >= 1024 {
            divisor *= 1024
            unit += 1
        }
        tenths = Int((Double(bytes) / Double(divisor) * 10).rounded())
        return "\(tenths / 10).\(abs(tenths % 10)) \(units[unit])"
    }
}
