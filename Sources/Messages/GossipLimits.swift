/// The limits of one gossip message. A sender leaves the rest for the next round; a receiver refuses larger messages.
public enum GossipLimits {
    /// Bytes of one encoded message.
    public static let messageBytes = 8 << 20
    /// Digests, or endpoints with states, in one message.
    public static let endpoints = 20_000
    /// Application states of one endpoint.
    public static let valuesPerEndpoint = 64
    /// Bytes of one value.
    public static let valueBytes = 64 << 10
    /// Bytes of the cluster name or the partitioner name.
    public static let nameBytes = 256
    /// Bytes of an address as text.
    public static let addressBytes = 64
    /// The approximate number of state bytes in one answer; at least one endpoint is always sent whole.
    public static let deltaBytes = 128 << 10
}
