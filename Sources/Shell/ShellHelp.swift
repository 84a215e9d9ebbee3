/// The texts of HELP.
enum ShellHelp {
    private static let topics: [(name: String, text: String)] = [
        ("CAPTURE", "CAPTURE 'file'  appends query output to a file; CAPTURE OFF stops that; CAPTURE shows the file."),
        ("CLEAR", "CLEAR (CLS)  clears the screen."),
        ("CONSISTENCY", "CONSISTENCY [level]  sets or shows the consistency level."),
        (
            "COPY",
            """
            COPY table [(column, ...)] TO   {'file' | STDOUT} [WITH option = value AND ...]
            COPY table [(column, ...)] FROM {'file' | STDIN}  [WITH option = value AND ...]
              HEADER = true|false   the first line holds the column names (false)
              DELIMITER = ','  QUOTE = '"'  ESCAPE = '\\'  NULL = ''
              PAGESIZE = 1000  MAXROWS = -1  SKIPROWS = 0
            For large files use auspex load.
            """
        ),
        ("DESCRIBE", "DESCRIBE (DESC) CLUSTER | SCHEMA | KEYSPACES | KEYSPACE [name] | TABLES | TABLE name | name"),
        ("EXIT", "EXIT (QUIT, Ctrl-D)  ends the shell."),
        ("EXPAND", "EXPAND [ON|OFF]  shows each row as a list of its columns."),
        ("LOGIN", "LOGIN user [password]  connects as another user."),
        ("PAGING", "PAGING [ON|OFF|rows]  sets or shows how many rows are shown at a time."),
        (
            "SERIAL",
            "SERIAL CONSISTENCY [SERIAL|LOCAL_SERIAL]  sets or shows the consistency level of conditional statements."
        ),
        ("SHOW", "SHOW VERSION | SHOW HOST | SHOW SESSION id"),
        ("SOURCE", "SOURCE 'file'  runs the statements of a file."),
        ("TRACING", "TRACING [ON|OFF]  shows what the server did for each statement."),
    ]

    /// Returns the texts of the given topics, or the list of topics.
    static func text(_ asked: [String]) -> String {
        if asked.isEmpty {
            let names = topics.map(\.name)
            return "\nShell commands (HELP command describes one):\n\n" + ShellSession.inColumns(names, width: 80)
                + "\nEverything else is CQL and goes to the server; statements end with ';'.\n\n"
        }
        return asked.map { word in
            guard let topic = topics.first(where: { $0.name == word.uppercased() }) else {
                return "No help on '\(word)'; HELP lists the commands.\n"
            }
            return "\n\(topic.text)\n\n"
        }.joined()
    }
}
