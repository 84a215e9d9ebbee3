import Primitives

/// Infers the columns' types from records.
struct TypeInference: ~Copyable {
    private let framing: RecordSource.Framing
    private let nulls: [[UInt8]]
    /// The field names; grows with the keys of JSON objects.
    private(set) var names: [String]
    private(set) var guesses: [TypeGuess]
    private(set) var records = 0
    /// Whether a value of the first column occurred twice: as the only key column it would keep one row per value.
    private(set) var firstColumnRepeats = false
    private var firstValues: Set<UInt64> = []
    /// How many values of the first column to remember.
    private static let maxFirstValues = 1 << 20
    private var scratch = ByteWriter(capacity: 256)

    init(_ framing: RecordSource.Framing, names: [String], nulls: [String]) {
        self.framing = framing
        self.names = names
        self.nulls = nulls.map { Array($0.utf8) }
        guesses = names.map { _ in .unknown }
    }

    /// Examines the records of a chunk, up to `limit` in total; returns false when the limit is reached.
    mutating func look(_ chunk: RecordChunk, limit: Int) -> Bool {
        chunk.bytes.withUnsafeBytes { bytes in
            var offset = 0
            while offset < bytes.count {
                if records >= limit { return false }
                switch framing {
                case .csv(let dialect): record(dialect, bytes, &offset)
                case .lines: line(bytes, &offset)
                }
            }
            return true
        }
    }

    private mutating func record(_ dialect: CSVDialect, _ bytes: UnsafeRawBufferPointer, _ offset: inout Int) {
        var index = 0
        while true {
            let field = dialect.field(bytes, from: offset, scratch: &scratch)
            offset = field.next
            if index == 0, !firstColumnRepeats, firstValues.count < TypeInference.maxFirstValues {
                firstColumnRepeats = !firstValues.insert(Checksum.xxh3(field.bytes)).inserted
            }
            if index < guesses.count, guesses[index] != .text, !field.bytes.isEmpty {
                note(index, field.bytes, isQuoted: field.isQuoted)
            }
            index += 1
            if field.isLast { break }
        }
        records += 1
    }

    private mutating func note(_ index: Int, _ field: UnsafeRawBufferPointer, isQuoted: Bool) {
        if !isQuoted, nulls.contains(where: { $0.count == field.count && $0.elementsEqual(field) }) { return }
        guesses[index] = guesses[index].joined(TypeGuess.of(field))
    }

    private mutating func line(_ bytes: UnsafeRawBufferPointer, _ offset: inout Int) {
        var end = offset
        while end < bytes.count, bytes[end] != 0x0A { end += 1 }
        var reader = JSONLine(UnsafeRawBufferPointer(rebasing: bytes[offset..<end]))
        offset = min(end + 1, bytes.count)
        records += 1
        do throws(JSONLine.Damage) {
            while let member = try reader.next() {
                let key = LoadPlan.columnName(String(decoding: member.key, as: UTF8.self))
                let index: Int
                if let known = names.firstIndex(of: key) {
                    index = known
                } else {
                    names.append(key)
                    guesses.append(.unknown)
                    index = names.count - 1
                }
                switch member.kind {
                case .null: break
                case .nested, .escapedString: guesses[index] = .text
                case .scalar: note(index, member.value, isQuoted: true)
                case .string:
                    // A string is text unless it is a date or a time: quoted digits are meant as text.
                    let guess = TypeGuess.of(member.value)
                    guesses[index] = guesses[index].joined(guess == .date || guess == .timestamp ? guess : .text)
                }
            }
        } catch {
            // The load itself refuses the line with a reason.
            return
        }
    }
}
