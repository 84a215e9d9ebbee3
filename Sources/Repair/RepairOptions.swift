/// How much a repair does at once, and how long it waits.
public struct RepairOptions: Sendable {
    /// Ranges under way at once; each holds a tree or a page of every replica.
    public var rangesInFlight = 4
    /// Trees one node is asked for at once: it reads all it holds for each.
    public var treesPerNode = 1
    /// A range with more partitions is done in parts, each with its own trees.
    public var partitionsPerTree = 1 << 20
    /// Rows and bytes one replica is asked for at once.
    public var pageRows = 1_000
    public var pageBytes = 512 << 10
    /// Bytes of mutations in one message; a single row may have more.
    public var writeBytes = 256 << 10
    /// How often a request is sent before its range fails.
    public var attempts = 3
    /// Microseconds before it is sent again.
    public var rest: Int64 = 1_000_000
    /// Microseconds to wait for a tree.
    public var treeTimeout: Int64 = 600_000_000
    /// Microseconds to wait for a page or for the answer to a write.
    public var requestTimeout: Int64 = 10_000_000

    public init() {}
}
