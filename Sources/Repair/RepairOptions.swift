/// The limits and timeouts of a repair.
public struct RepairOptions: Sendable {
    /// The number of ranges under way at once; each holds a tree or a page of every replica.
    public var rangesInFlight = 4
    /// The number of trees requested of one node at once; for each the node reads all its data of the range.
    public var treesPerNode = 1
    /// A range with more partitions than this is split into parts, each with its own trees.
    public var partitionsPerTree = 1 << 20
    /// The rows and bytes requested of one replica at once.
    public var pageRows = 1_000
    public var pageBytes = 512 << 10
    /// The bytes of mutations in one message; a single larger row is sent whole.
    public var writeBytes = 256 << 10
    /// How many times a request is sent before its range fails.
    public var attempts = 3
    /// The pause before a request is sent again, in microseconds.
    public var rest: Int64 = 1_000_000
    /// The timeout for a tree, in microseconds.
    public var treeTimeout: Int64 = 600_000_000
    /// The timeout for a page or a write, in microseconds.
    public var requestTimeout: Int64 = 10_000_000

    public init() {}
}
