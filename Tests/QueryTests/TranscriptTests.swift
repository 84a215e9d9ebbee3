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

    @Test("answers are as recorded, also when every other call of the replica waits", arguments: names)
    func oneReplica(name: String) throws {
        let recorded = try TranscriptTests.read(TranscriptTests.folder + name)
        let session = Session(seed: 11)
        let produced = TranscriptTests.replay(recorded, session)
        let waiting = Session(seed: 11, waitsOneIn: 2)
        #expect(TranscriptTests.replay(recorded, waiting) == produced, "\(name): answers differ when the replica waits")
        #expect(waiting.calls == session.calls, "\(name): a statement was executed twice")
        if TranscriptTests.isRewriting { return try TranscriptTests.write(produced, to: TranscriptTests.folder + name) }
        TranscriptTests.compare(recorded, produced, "\(name)")
    }

    /// Answers of one replica that three do not give: the level needs more than one live replica.
    static let needMoreReplicas = [
        "schema.cql": [
            "! Unavailable: Cannot achieve consistency level QUORUM\n",
            "! Unavailable: Cannot achieve consistency level TWO\n",
        ]
    ]

    @Test(
        "answers are as recorded through a coordinator and three nodes, at QUORUM", .enabled(if: !isRewriting),
        arguments: names, QueryCluster.Kind.allCases)
    func threeNodes(name: String, kind: QueryCluster.Kind) throws {
        let recorded = try TranscriptTests.read(TranscriptTests.folder + name)
        let alone = Session()
        _ = TranscriptTests.replay(recorded, alone)
        for seed in TranscriptTests.seeds {
            let session = Session(seed: seed, cluster: kind)
            session.options.consistency = .quorum
            let produced = TranscriptTests.replay(recorded, session)
            let accepted = TranscriptTests.compare(
                recorded, produced, "\(name), \(kind), seed \(seed)",
                except: TranscriptTests.needMoreReplicas[name, default: []])
            #expect(
                session.calls == alone.calls + accepted,
                "\(name), \(kind), seed \(seed): a statement was executed more or less than once")
        }
    }

    static let seeds = 1...3 as ClosedRange<UInt64>
    static let isRewriting = getenv("REWRITE_TRANSCRIPTS") != nil

    /// Compares the answers of two transcripts and records the first difference.
    /// - Parameter except: expected answers that may instead be any answer but an error.
    /// - Returns: how many answers of `except` differ.
    @discardableResult static func compare(
        _ recorded: String, _ produced: String, _ title: String, except: [String] = []
    ) -> Int {
        let expected = statements(recorded)
        let actual = statements(produced)
        var excepted = 0
        for (index, (left, right)) in zip(expected, actual).enumerated() where left != right {
            if left.input == right.input, except.contains(left.answer), !right.answer.hasPrefix("!") {
                excepted += 1
                continue
            }
            Issue.record(
                "\(title): statement \(index + 1), \(left.input)\nexpected:\n\(left.answer)answered:\n\(right.answer)")
            return excepted
        }
        #expect(expected.count == actual.count, "\(title): the number of statements")
        return excepted
    }

    /// Splits a transcript into statements and their answers.
    private static func statements(_ transcript: String) -> [(input: String, answer: String)] {
        var statements: [(input: String, answer: String)] = []
        for line in transcript.split(separator: "\n") where !line.hasPrefix("#") {
            if line.hasPrefix("> ") {
                statements.append((String(line), ""))
            } else if !statements.isEmpty {
                statements[statements.count - 1].answer += line + "\n"
            }
        }
        return statements
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
