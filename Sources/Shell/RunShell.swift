import Client
import DataModel
import Glibc

/// Runs a shell until its input ends.
///
/// Statements come from `options` or else from standard input. If that is a terminal, the shell is interactive.
/// - Returns: the exit code: 1 when a statement failed in a non-interactive shell, else 0.
public func runShell(_ options: ShellOptions, backend: any QueryBackend) -> Int32 {
    signal(SIGPIPE, SIG_IGN)
    let isInteractive = options.execute == nil && options.file == nil && Terminal.isInteractive
    let session = ShellSession(backend, options, isInteractive: isInteractive)
    defer { backend.close() }
    if let keyspace = options.keyspace { session.run("USE " + Identifier.quoted(keyspace)) }
    if let text = options.execute {
        session.feed(Array(text.utf8) + [0x0A])
        session.finish()
    } else if let file = options.file {
        do throws(ShellError) { try session.source(file) } catch { session.report(error) }
    } else if isInteractive {
        runInteractively(session, options)
        return 0
    } else {
        while !session.isEnded {
            let chunk = FileText.read(0)
            if chunk.isEmpty { break }
            session.feed(chunk)
        }
        session.finish()
    }
    return session.hasFailed ? 1 : 0
}

private func runInteractively(_ session: ShellSession, _ options: ShellOptions) {
    let identity = session.backend.identity
    session.show("Connected to \(identity.clusterName) at \(identity.address)\n")
    session.run("SHOW VERSION")
    session.show("Use HELP for help.\n")
    var editor = LineEditor(history: History(path: options.historyFile))
    var names = Completion.Names()
    var namesOf = -1
    var lines: [String] = []
    while !session.isEnded {
        let name = session.keyspace.map { ":" + Identifier.quoted($0) } ?? ""
        let prompt = "auspex\(name)> "
        let begun = lines.joined(separator: "\n") + (lines.isEmpty ? "" : "\n")
        editor.complete = { before in
            // Read the names on first use, and again after a schema change.
            if namesOf != session.schemaChanges {
                names = Completion.names(session.backend)
                namesOf = session.schemaChanges
            }
            return Completion.words(begun + before, names: names, keyspace: session.keyspace)
        }
        let shown = lines.isEmpty ? prompt : String(repeating: " ", count: max(0, prompt.count - 5)) + "...> "
        switch Terminal.raw({ editor.readLine(shown) }) {
        case .ended:
            editor.history.save()
            return
        case .interrupted:
            session.abandonStatement()
            lines.removeAll()
        case .line(let line):
            lines.append(line)
            session.feed(Array(line.utf8) + [0x0A])
            if !session.isInsideStatement {
                editor.history.add(lines.joined(separator: "\n"))
                lines.removeAll()
            }
        }
    }
    editor.history.save()
}
