import DataModel
import Glibc
import Query
import Testing

/// Runs the transcripts beside this file.
///
/// A line `> statement` is input; the lines up to the next input or comment (`#`) are the expected answer.
/// `REWRITE_TRANSCRIPTS=1 swift test --filter QueryTests` writes the current answers into the files; read the
/// difference before committing it.
@Suite struct TranscriptTests {
    static let folder = #filePath.split(separator: "/").dropLast().reduce("") { $0 + "/" + $1 } + "/Transcripts/"
    static let names: [String] = {
        var names: [String] = []
        guard let directory = opendir(folder) else { return [] }
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name.hasSuffix(".cql") { names.append(name) }
        }
        closedir(directory)
        return names.sorted()
    }()

    @Test func thereAreTranscripts() { #expect(TranscriptTests.names.count >= 10) }

    @Test(arguments: names) func transcript(name: String) throws {
        let path = TranscriptTests.folder + name
        let recorded = try TranscriptTests.read(path)
        var produced = ""
        var calls = 0
        // In the second run every other call of the replica waits: answers and calls must not differ.
        for waitsOneIn in [0, 2] as [UInt64] {
            let session = Session(seed: 11, waitsOneIn: waitsOneIn)
            let again = TranscriptTests.replay(recorded, session)
            if waitsOneIn > 0 {
                #expect(again == produced, "\(name): answers differ when the replica waits")
                #expect(session.replica.calls == calls, "\(name): a statement was executed twice")
            }
            produced = again
            calls = session.replica.calls
        }
        if getenv("REWRITE_TRANSCRIPTS") != nil {
            try TranscriptTests.write(produced, to: path)
            return
        }
        let expected = recorded.split(separator: "\n", omittingEmptySubsequences: false)
        let actual = produced.split(separator: "\n", omittingEmptySubsequences: false)
        var statement = ""
        for index in 0..<max(expected.count, actual.count) {
            let left = index < expected.count ? expected[index] : "<end>"
            let right = index < actual.count ? actual[index] : "<end>"
            if left.hasPrefix("> ") { statement = String(left) }
            if left != right {
                Issue.record("\(name):\(index + 1) after \(statement)\n  expected: \(left)\n  answered: \(right)")
                break
            }
        }
    }

    /// Returns the transcript with the answers of `session`.
    static func replay(_ recorded: String, _ session: Session) -> String {
        var output = ""
        var next: [UInt8]?
        var last = ""
        for line in recorded.split(separator: "\n", omittingEmptySubsequences: false) {
            if line.hasPrefix("#") || line.isEmpty {
                output += line + "\n"
                continue
            }
            guard line.hasPrefix("> ") else { continue }
            output += line + "\n"
            var statement = String(line.dropFirst(2))
            if statement.hasPrefix("\\") {
                let words = statement.split(separator: " ").map(String.init)
                switch words[0] {
                case "\\page": session.options.pageSize = Int(words[1]) ?? 0
                case "\\consistency": session.options.consistency = Consistency(name: words[1]) ?? .one
                case "\\serial": session.options.serialConsistency = Consistency(name: words[1]) ?? .serial
                case "\\advance": session.advance(microseconds: (Int64(words[1]) ?? 0) * 1_000_000)
                case "\\next":
                    session.options.pagingState = next
                    statement = last
                default: output += "! unknown command\n"
                }
                if words[0] != "\\next" { continue }
            }
            last = statement
            output += answer(statement, session, &next)
            session.options.pagingState = nil
        }
        while output.hasSuffix("\n\n") { output.removeLast() }
        return output
    }

    private static func answer(_ statement: String, _ session: Session, _ next: inout [UInt8]?) -> String {
        var output = ""
        next = nil
        do throws(ServerError) {
            let answer = try session.execute(statement)
            for warning in answer.warnings { output += "W \(warning)\n" }
            switch answer.result {
            case .void: output += "ok\n"
            case .setKeyspace(let name):
                session.options.keyspace = name
                output += "using \(name)\n"
            case .schemaChange(let change):
                output += "\(change.kind.rawValue) \(change.target.rawValue) \(change.keyspace) \(change.name)\n"
            case .rows(let rows):
                output += rows.metadata.columns.map { "\($0.name) \($0.type)" }.joined(separator: " | ") + "\n"
                for row in rows.texts { output += row.joined(separator: " | ") + "\n" }
                next = rows.pagingState
                output += "(\(rows.rowCount) rows\(next == nil ? "" : ", more"))\n"
            }
        } catch {
            output += "! \(error.code.name): \(error.message)\n"
        }
        return output
    }

    static func read(_ path: String) throws -> String {
        let file = try #require(fopen(path, "r"), "cannot open \(path)")
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while case let got = fread(&chunk, 1, chunk.count, file), got > 0 { bytes += chunk[..<got] }
        return String(decoding: bytes, as: UTF8.self)
    }

    static func write(_ text: String, to path: String) throws {
        let file = try #require(fopen(path, "w"), "cannot write \(path)")
        defer { fclose(file) }
        let bytes = Array(text.utf8)
        #expect(fwrite(bytes, 1, bytes.count, file) == bytes.count)
    }
}
