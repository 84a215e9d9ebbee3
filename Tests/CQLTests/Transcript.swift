#if canImport(Glibc)
    import Glibc
#endif
import Testing

/// A file of commands and their expected output:
///
///     command arguments
///     input
///     ----
///     output
///
/// with a blank line after each output. With `AUSPEX_REWRITE` set, the files are rewritten with the current output.
struct Transcript {
    struct Step {
        var comments: [String] = []
        var command: String
        var input: [String]
        var expected: [String]
        var line: Int
    }

    let path: String
    var steps: [Step]
    var trailing: [String] = []

    static var isRewriting: Bool { getenv("AUSPEX_REWRITE") != nil }

    static func path(_ name: String, _ file: String = #filePath) -> String {
        file.split(separator: "/").dropLast().reduce("") { $0 + "/" + $1 } + "/Transcripts/" + name
    }

    init(_ name: String) throws {
        path = Self.path(name)
        let text = try Self.read(path)
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        steps = []
        var comments: [String] = []
        var index = 0
        while index < lines.count {
            let line = lines[index]
            index += 1
            if line.isEmpty || line.hasPrefix("#") {
                comments.append(line)
                continue
            }
            var step = Step(comments: comments, command: line, input: [], expected: [], line: index)
            comments = []
            while index < lines.count, lines[index] != "----" {
                step.input.append(lines[index])
                index += 1
            }
            index += 1
            while index < lines.count, !lines[index].isEmpty {
                step.expected.append(lines[index])
                index += 1
            }
            steps.append(step)
        }
        trailing = comments
    }

    /// Runs every step and compares; `answer` may keep state between steps.
    func run(_ answer: (Step) -> String) throws {
        var rewritten: [String] = []
        for step in steps {
            let actual = answer(step).split(separator: "\n", omittingEmptySubsequences: false).map {
                $0.isEmpty ? "." : String($0)
            }
            if Self.isRewriting {
                rewritten += step.comments + [step.command] + step.input + ["----"] + actual
            } else {
                #expect(actual == step.expected, "\(path):\(step.line): \(step.input.joined(separator: " "))")
            }
        }
        if Self.isRewriting {
            try Self.write((rewritten + trailing).joined(separator: "\n") + (trailing.isEmpty ? "\n" : ""), path)
        }
    }

    struct FileError: Error { var path: String }

    private static func read(_ path: String) throws -> String {
        guard let file = fopen(path, "r") else { throw FileError(path: path) }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while case let count = fread(&buffer, 1, buffer.count, file), count > 0 { bytes += buffer[0..<count] }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func write(_ text: String, _ path: String) throws {
        guard let file = fopen(path, "w") else { throw FileError(path: path) }
        defer { fclose(file) }
        let bytes = Array(text.utf8)
        fwrite(bytes, 1, bytes.count, file)
    }
}
