import DataModel
import Primitives

/// The cells of one row of a result, for code that needs convenience more than speed.
public struct ResultRow: Sendable {
    /// The bytes of each column's value; nil is null.
    public let cells: [[UInt8]?]

    public func text(_ column: Int) -> String? {
        guard cells.indices.contains(column), let bytes = cells[column] else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Returns a big-endian integer of one to eight bytes.
    public func integer(_ column: Int) -> Int64? {
        guard cells.indices.contains(column), let bytes = cells[column], (1...8).contains(bytes.count) else {
            return nil
        }
        var value: Int64 = bytes[0] & 0x80 != 0 ? -1 : 0
        for byte in bytes { value = value << 8 | Int64(byte) }
        return value
    }

    public func uuid(_ column: Int) -> UUID? {
        guard cells.indices.contains(column), let bytes = cells[column] else { return nil }
        return UUID(bytes: bytes)
    }

    /// Returns the elements of a list or set of text.
    public func texts(_ column: Int) -> [String] {
        guard cells.indices.contains(column), let bytes = cells[column] else { return [] }
        return bytes.withReader { reader in
            var list: [String] = []
            do throws(ByteError) {
                for _ in 0..<max(0, Int(try reader.readBE(Int32.self))) {
                    let length = Int(try reader.readBE(Int32.self))
                    if length >= 0 { list.append(String(decoding: try reader.readSlice(length), as: UTF8.self)) }
                }
            } catch {
                return list
            }
            return list
        }
    }
}

extension ResultRows {
    /// Returns the rows with copies of their cells. Cells that cannot be decoded read as null.
    public func rows() -> [ResultRow] {
        cells.withReader { reader in
            (0..<rowCount).map { _ in
                ResultRow(
                    cells: metadata.columns.map { _ in
                        do throws(ByteError) {
                            let length = Int(try reader.readBE(Int32.self))
                            return length < 0 ? nil : try reader.readArray(length)
                        } catch {
                            return nil
                        }
                    })
            }
        }
    }
}
