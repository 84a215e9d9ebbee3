/// The life and pulse of a node: a generation for each start of its process, a version that grows each second of it.
public struct HeartBeat: Hashable, Sendable, Comparable {
    /// Greater than any the node ever used; seconds since 1970 at its start, by convention, so that peers can refuse nonsense.
    public var generation: Int64
    /// Grows with every tick and every changed value; begins again with a generation.
    public var version: Int64

    public init(generation: Int64, version: Int64) {
        self.generation = generation
        self.version = version
    }

    public static func < (a: HeartBeat, b: HeartBeat) -> Bool { (a.generation, a.version) < (b.generation, b.version) }
}
