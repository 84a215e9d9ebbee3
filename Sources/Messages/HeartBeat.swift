/// A node's generation, one per start of its process, and a version that grows every second.
public struct HeartBeat: Hashable, Sendable, Comparable {
    /// Greater than any the node ever used. By convention the start time in seconds since 1970, so that peers can
    /// refuse implausible values.
    public var generation: Int64
    /// Grows with every tick and every changed value; restarts with each generation.
    public var version: Int64

    public init(generation: Int64, version: Int64) {
        self.generation = generation
        self.version = version
    }

    public static func < (a: HeartBeat, b: HeartBeat) -> Bool { (a.generation, a.version) < (b.generation, b.version) }
}
