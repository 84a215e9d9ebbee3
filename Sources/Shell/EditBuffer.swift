/// The line being edited: its characters and the cursor position.
struct EditBuffer {
    private(set) var characters: [Character] = []
    private(set) var cursor = 0
    /// The text cut last, for `yank`.
    private var cut: [Character] = []

    var text: String { String(characters) }
    var textBeforeCursor: String { String(characters[..<cursor]) }
    var isEmpty: Bool { characters.isEmpty }

    mutating func set(_ text: String) {
        characters = Array(text)
        cursor = characters.count
    }

    mutating func insert(_ text: String) {
        // Inserted text may merge with a neighbour (a combining accent), so recount the position.
        let before = String(characters[..<cursor]) + text
        characters = Array(before + String(characters[cursor...]))
        cursor = min(before.count, characters.count)
    }

    /// Replaces the `count` characters before the cursor.
    mutating func replaceBeforeCursor(_ count: Int, with text: String) {
        let start = max(0, cursor - count)
        characters.removeSubrange(start..<cursor)
        cursor = start
        insert(text)
    }

    mutating func backspace() {
        guard cursor > 0 else { return }
        cursor -= 1
        characters.remove(at: cursor)
    }

    mutating func delete() { if cursor < characters.count { characters.remove(at: cursor) } }
    mutating func left() { if cursor > 0 { cursor -= 1 } }
    mutating func right() { if cursor < characters.count { cursor += 1 } }
    mutating func home() { cursor = 0 }
    mutating func end() { cursor = characters.count }
    mutating func wordLeft() { cursor = startOfWord }
    mutating func wordRight() { cursor = endOfWord }

    mutating func killToEnd() {
        cut = Array(characters[cursor...])
        characters.removeSubrange(cursor...)
    }

    mutating func killToStart() { kill(0) }

    /// Cuts back to the last blank, like Ctrl-W in a terminal.
    mutating func killWordBack() {
        var start = cursor
        while start > 0, characters[start - 1].isWhitespace { start -= 1 }
        while start > 0, !characters[start - 1].isWhitespace { start -= 1 }
        kill(start)
    }

    mutating func killWordForward() {
        let end = endOfWord
        cut = Array(characters[cursor..<end])
        characters.removeSubrange(cursor..<end)
    }

    mutating func yank() { insert(String(cut)) }

    mutating func transpose() {
        guard characters.count >= 2, cursor > 0 else { return }
        if cursor == characters.count { cursor -= 1 }
        characters.swapAt(cursor - 1, cursor)
        cursor += 1
    }

    private mutating func kill(_ start: Int) {
        cut = Array(characters[start..<cursor])
        characters.removeSubrange(start..<cursor)
        cursor = start
    }

    private func isWord(_ index: Int) -> Bool {
        characters[index].isLetter || characters[index].isNumber || characters[index] == "_"
    }

    private var startOfWord: Int {
        var index = cursor
        while index > 0, !isWord(index - 1) { index -= 1 }
        while index > 0, isWord(index - 1) { index -= 1 }
        return index
    }

    private var endOfWord: Int {
        var index = cursor
        while index < characters.count, !isWord(index) { index += 1 }
        while index < characters.count, isWord(index) { index += 1 }
        return index
    }
}
