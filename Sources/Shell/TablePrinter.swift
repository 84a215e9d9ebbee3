import Client
import DataModel

/// Formats rows as tables, like cqlsh.
struct TablePrinter {
    var isColoured = false
    /// Whether to show each row as a list of its columns.
    var isExpanded = false
    /// The number of significant digits of floating-point numbers.
    var floatDigits = 5

    private enum Colour: String {
        case name = "\u{1B}[1;35m"
        case text = "\u{1B}[1;33m"
        case number = "\u{1B}[1;32m"
        case null = "\u{1B}[1;31m"
        case other = "\u{1B}[1;34m"
    }

    private struct Cell {
        var text: String
        var width: Int
        var colour: Colour
    }

    private func painted(_ text: String, _ colour: Colour) -> String {
        isColoured ? colour.rawValue + text + "\u{1B}[0m" : text
    }

    private func blanks(_ count: Int) -> String { String(repeating: " ", count: max(0, count)) }

    /// Escapes control characters, so that a value cannot move the cursor.
    static func visible(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7F }) else { return text }
        var visible = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\n": visible += "\\n"
            case "\r": visible += "\\r"
            case "\t": visible += "\\t"
            case _ where scalar.value < 0x20 || scalar.value == 0x7F:
                visible += "\\x" + (scalar.value < 16 ? "0" : "") + String(scalar.value, radix: 16)
            default: visible.unicodeScalars.append(scalar)
            }
        }
        return visible
    }

    private func cell(_ bytes: [UInt8]?, _ type: CQLType) -> Cell {
        let text = TablePrinter.visible(type.text(bytes, style: .shell(floatDigits: floatDigits)))
        let colour: Colour
        if bytes == nil {
            colour = .null
        } else {
            switch type {
            case .text, .ascii: colour = .text
            case .list, .set, .map, .tuple, .frozen, .blob: colour = .other
            default: colour = .number
            }
        }
        return Cell(text: text, width: Terminal.displayWidth(text), colour: colour)
    }

    /// The state of a table between pages.
    struct State {
        fileprivate var widths: [Int] = []
        /// The number of rows printed so far.
        fileprivate(set) var rows = 0
    }

    /// Formats a page of rows; the first one with the header.
    func page(_ rows: ResultRows, _ state: inout State) -> String {
        let columns = rows.metadata.columns
        let table = rows.rows().map { row in zip(row.cells, columns).map { cell($0, $1.type) } }
        return isExpanded ? expanded(columns, table, &state) : aligned(columns, table, &state)
    }

    private func aligned(_ columns: [ColumnSpec], _ table: [[Cell]], _ state: inout State) -> String {
        var out = ""
        if state.widths.isEmpty {
            state.widths = columns.indices.map { index in
                max(Terminal.displayWidth(columns[index].name), table.map { $0[index].width }.max() ?? 0)
            }
            let names = zip(columns, state.widths).map { column, width in
                painted(column.name, .name) + blanks(width - Terminal.displayWidth(column.name))
            }
            out += "\n " + names.joined(separator: " | ") + "\n"
            out += "-" + state.widths.map { String(repeating: "-", count: $0) }.joined(separator: "-+-") + "-\n"
        }
        for row in table {
            let cells = zip(row, state.widths).map { cell, width in
                blanks(width - cell.width) + painted(cell.text, cell.colour)
            }
            out += " " + cells.joined(separator: " | ") + "\n"
        }
        state.rows += table.count
        return out
    }

    private func expanded(_ columns: [ColumnSpec], _ table: [[Cell]], _ state: inout State) -> String {
        var out = ""
        let nameWidth = columns.map { Terminal.displayWidth($0.name) }.max() ?? 0
        let valueWidth = table.flatMap { $0 }.map(\.width).max() ?? 0
        for row in table {
            state.rows += 1
            out += "\n@ Row \(state.rows)\n"
            out +=
                "-" + String(repeating: "-", count: nameWidth) + "-+-" + String(repeating: "-", count: valueWidth)
                + "-\n"
            for (column, cell) in zip(columns, row) {
                let name = painted(column.name, .name) + blanks(nameWidth - Terminal.displayWidth(column.name))
                out += " \(name) | \(painted(cell.text, cell.colour))\n"
            }
        }
        return out
    }
}
