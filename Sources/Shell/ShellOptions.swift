import DataModel

/// How a shell runs.
public struct ShellOptions: Sendable {
    /// Statements to run instead of reading any (`-e`).
    public var execute: String?
    /// A file of statements to run (`-f`).
    public var file: String?
    public var keyspace: String?
    /// nil: on a terminal.
    public var colour: Bool?
    public var consistency = Consistency.one
    /// Where interactive input is remembered; nil: nowhere.
    public var historyFile: String? = "~/.auspex_history"

    public init() {}
}
