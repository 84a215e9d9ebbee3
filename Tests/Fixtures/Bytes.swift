import Primitives

/// Returns the bytes of hexadecimal digits; blanks are ignored.
package func bytes(_ hex: String) -> [UInt8] {
    let digits = hex.filter { !$0.isWhitespace }.map { UInt8($0.hexDigitValue ?? 0) }
    return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}

package func hex(_ bytes: some Sequence<UInt8>) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}

/// Returns what `encode` writes.
package func encoded(_ encode: (inout ByteWriter) -> Void) -> [UInt8] {
    var out = ByteWriter()
    encode(&out)
    return out.toArray()
}
