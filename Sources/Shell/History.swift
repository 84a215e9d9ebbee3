import Glibc

/// The lines typed in this and earlier sessions.
struct History {
    static let maxEntries = 2000

    private(set) var entries: [String] = []
    private let path: String?

    /// Reads the history file, if it exists: one entry per line, with newlines and backslashes escaped as `\n` and
    /// `\\`.
    init(path: String?) {
        self.path = path
        guard let path else { return }
        let descriptor = open(FileText.expanded(path), O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        defer { Glibc.close(descriptor) }
        var bytes: [UInt8] = []
        while true {
            let chunk = FileText.read(descriptor)
            if chunk.isEmpty { break }
            bytes += chunk
        }
        entries = bytes.split(separator: 0x0A).suffix(History.maxEntries).map {
            History.unescaped(String(decoding: $0, as: UTF8.self))
        }
    }

    /// Adds an entry, unless it repeats the last one or contains a password.
    mutating func add(_ entry: String) {
        let lower = entry.lowercased()
        guard !entry.isEmpty, entry != entries.last, !lower.contains("password"), !lower.hasPrefix("login") else {
            return
        }
        entries.append(entry)
        if entries.count > History.maxEntries { entries.removeFirst(entries.count - History.maxEntries) }
    }

    /// Writes the history file, readable by its owner only.
    func save() {
        // Losing the history is harmless.
        guard let path, let descriptor = try? FileText.openForWriting(path) else { return }
        defer { Glibc.close(descriptor) }
        _ = FileText.write(Array(entries.map { History.escaped($0) + "\n" }.joined().utf8), to: descriptor)
    }

    /// Returns the index of the newest entry before `index` that contains `text`.
    func search(_ text: String, before index: Int) -> Int? {
        guard !text.isEmpty else { return nil }
        return entries[..<min(index, entries.count)].lastIndex { $0.contains(text) }
    }

    static func escaped(_ entry: String) -> String { entry.replacing("\\", with: "\\\\").replacing("\n", with: "\\n") }

    static func unescaped(_ line: String) -> String {
        var text = ""
        var isEscaped = false
        for character in line {
            if isEscaped {
                text.append(character == "n" ? "\n" : character)
                isEscaped = false
            } else if character == "\\" {
                isEscaped = true
            } else {
                text.append(character)
            }
        }
        return text
    }
}
