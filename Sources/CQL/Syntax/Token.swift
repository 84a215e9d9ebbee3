/// A piece of CQL text.
struct Token: Equatable {
    enum Kind: UInt8 {
        /// A bare word: a keyword or a name.
        case word
        /// A name in double quotes.
        case quotedName
        /// Between single quotes.
        case string
        /// Between `$$`.
        case dollarString
        case integer, float, hex, uuid, duration
        /// `?`
        case questionMark
        /// Punctuation and operators; `symbol` says which.
        case symbol
        case end
    }

    var kind: Kind
    /// For `.symbol`: its first byte, and in the high half its second if it has two.
    var symbol: UInt16 = 0
    /// Where it stands in the text.
    var start: Int
    var end: Int
}

extension UInt16 {
    /// A symbol of one or two ASCII characters as `Token.symbol` holds it.
    init(symbol text: StaticString) {
        self = text.withUTF8Buffer { $0.count == 1 ? UInt16($0[0]) : UInt16($0[0]) | UInt16($0[1]) << 8 }
    }
}
