import DataModel

/// The options of a shell.
public struct ShellOptions: Sendable {
    /// Statements to run instead of reading any (`-e`).
    public var execute: String?
    /// A file of statements to run (`-f`).
    public var file: String?
    public var keyspace: String?
    /// Whether to use colours; nil: if the output is a terminal.
    public var colour: Bool?
    public var consistency = Consistency.one
    /// The file for the history of interactive input; nil: none.
    public var historyFile: String? = "~/.auspex_history"

    public init() {}
}
