/// Reads lines from a terminal, with editing, history, search and completion.
struct LineEditor {
    enum Outcome: Equatable {
        case line(String)
        /// Ctrl-C; the typed text is dropped.
        case interrupted
        /// Ctrl-D on an empty line, or the end of the terminal input.
        case ended
    }

    var history: History
    /// Returns the words that may complete the text before the cursor, and how many characters they replace.
    var complete: (_ before: String) -> (replaced: Int, words: [String]) = { _ in (0, []) }

    private var buffer = EditBuffer()
    private var prompt = ""
    /// The screen row of the cursor, relative to the prompt's row.
    private var cursorRow = 0
    private var historyIndex = 0
    /// The text typed before the user went back in the history.
    private var draft = ""

    init(history: History) { self.history = history }

    /// Prints `prompt` and reads one line.
    mutating func readLine(_ prompt: String) -> Outcome {
        self.prompt = prompt
        buffer = EditBuffer()
        cursorRow = 0
        historyIndex = history.entries.count
        draft = ""
        render()
        while let key = nextKey() {
            if let outcome = handle(key) { return outcome }
            // Pasted text arrives at once: draw only after its last byte.
            if !Terminal.hasInput { render() }
        }
        Terminal.write("\r\n")
        return .ended
    }

    private func nextKey() -> Key? {
        KeyDecoder.next { isInsideKey in Terminal.readByte(within: isInsideKey ? 50 : -1) }
    }

    private mutating func handle(_ key: Key) -> Outcome? {
        switch key {
        case .text(let text): buffer.insert(text)
        case .enter:
            buffer.end()
            render()
            Terminal.write("\r\n")
            return .line(buffer.text)
        case .interrupt:
            Terminal.write("^C\r\n")
            return .interrupted
        case .endOfInput:
            if buffer.isEmpty {
                Terminal.write("\r\n")
                return .ended
            }
            buffer.delete()
        case .tab: completeWord()
        case .searchBack: return search()
        case .up: recall(historyIndex - 1)
        case .down: recall(historyIndex + 1)
        case .clearScreen:
            Terminal.write("\u{1B}[H\u{1B}[2J")
            cursorRow = 0
        case .backspace: buffer.backspace()
        case .delete: buffer.delete()
        case .left: buffer.left()
        case .right: buffer.right()
        case .home: buffer.home()
        case .end: buffer.end()
        case .wordLeft: buffer.wordLeft()
        case .wordRight: buffer.wordRight()
        case .killToEnd: buffer.killToEnd()
        case .killToStart: buffer.killToStart()
        case .killWordBack: buffer.killWordBack()
        case .killWordForward: buffer.killWordForward()
        case .yank: buffer.yank()
        case .transpose: buffer.transpose()
        case .escape, .unknown: break
        }
        return nil
    }

    private mutating func recall(_ index: Int) {
        guard index >= 0, index <= history.entries.count, index != historyIndex else { return }
        if historyIndex == history.entries.count { draft = buffer.text }
        historyIndex = index
        // An entry of several lines is edited as one line.
        buffer.set(index == history.entries.count ? draft : history.entries[index].replacing("\n", with: " "))
    }

    private mutating func completeWord() {
        let (replaced, words) = complete(buffer.textBeforeCursor)
        guard let first = words.first else { return Terminal.write("\u{07}") }
        if words.count == 1 {
            let closes = first.hasSuffix(".") || first.hasSuffix("(")
            return buffer.replaceBeforeCursor(replaced, with: closes ? first : first + " ")
        }
        let shared = words.dropFirst().reduce(first) { LineEditor.sharedPrefix($0, $1) }
        if shared.count > replaced { return buffer.replaceBeforeCursor(replaced, with: shared) }
        Terminal.write("\r\n" + ShellSession.inColumns(words, width: Terminal.width).replacing("\n", with: "\r\n"))
        cursorRow = 0
    }

    /// Returns the common prefix, ignoring case.
    static func sharedPrefix(_ a: String, _ b: String) -> String {
        String(zip(a, b).prefix { $0.lowercased() == $1.lowercased() }.map(\.0))
    }

    /// Ctrl-R: searches the history for lines that contain a text, newest first.
    private mutating func search() -> Outcome? {
        var wanted = ""
        var found = history.entries.count
        let plainPrompt = prompt
        defer { prompt = plainPrompt }
        while true {
            prompt = "(reverse-i-search)`\(wanted)': "
            render()
            guard let key = nextKey() else { return .ended }
            switch key {
            case .text(let text): wanted += text
            case .backspace: if !wanted.isEmpty { wanted.removeLast() }
            case .searchBack:
                if let next = history.search(wanted, before: found) { found = next } else { Terminal.write("\u{07}") }
                show(found)
                continue
            case .escape, .interrupt:
                buffer.set("")
                clearLine()
                return nil
            default:
                prompt = plainPrompt
                clearLine()
                historyIndex = found
                return handle(key)
            }
            if let next = history.search(wanted, before: history.entries.count) {
                found = next
            } else if !wanted.isEmpty {
                Terminal.write("\u{07}")
            }
            show(found)
        }
    }

    private mutating func show(_ index: Int) {
        if history.entries.indices.contains(index) { buffer.set(history.entries[index].replacing("\n", with: " ")) }
    }

    private mutating func clearLine() {
        Terminal.write((cursorRow > 0 ? "\u{1B}[\(cursorRow)A" : "") + "\r\u{1B}[J")
        cursorRow = 0
    }

    /// Draws the prompt and the line on as many rows as needed, and positions the cursor.
    private mutating func render() {
        let width = max(1, Terminal.width)
        let promptWidth = Terminal.displayWidth(prompt)
        let total = promptWidth + Terminal.displayWidth(buffer.text)
        let before = promptWidth + Terminal.displayWidth(buffer.textBeforeCursor)
        var out = cursorRow > 0 ? "\u{1B}[\(cursorRow)A" : ""
        out += "\r\u{1B}[J" + prompt + buffer.text
        // After a line that exactly fills its row, terminals keep the cursor in that row. Move to the next row, so that
        // the row count is right.
        if total > 0 && total % width == 0 { out += "\n\r" }
        let lastRow = total / width
        cursorRow = before / width
        if lastRow > cursorRow { out += "\u{1B}[\(lastRow - cursorRow)A" }
        out += "\r"
        if before % width > 0 { out += "\u{1B}[\(before % width)C" }
        Terminal.write(out)
    }
}
