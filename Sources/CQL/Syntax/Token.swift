/// A token of CQL text.
struct Token: Equatable {
    enum Kind: UInt8 {
        /// A bare word: a keyword or a name.
        case word
        /// A name in double quotes.
        case quotedName
        /// A string in single quotes.
        case string
        /// A string between `$$`.
        case dollarString
        case integer, float, hex, uuid, duration
        /// `?`
        case questionMark
        /// Punctuation and operators; `symbol` has the characters.
        case symbol
        case end
    }

    var kind: Kind
    /// For `.symbol`: its first byte; the second, if any, in the high half.
    var symbol: UInt16 = 0
    /// The token's byte range in the text.
    var start: Int
    var end: Int
}

extension UInt16 {
    /// Encodes a symbol of one or two ASCII characters as in `Token.symbol`.
    init(symbol text: StaticString) {
        self = text.withUTF8Buffer { $0.count == 1 ? UInt16($0[0]) : UInt16($0[0]) | UInt16($0[1]) << 8 }
    }
}
