/// What one gossip message may hold. Both sides keep to it: a sender leaves the rest for the next round, a receiver refuses more.
public enum GossipLimits {
    /// Bytes of one encoded message.
    public static let messageBytes = 8 << 20
    /// Digests, or endpoints with state, in one message.
    public static let endpoints = 20_000
    /// Application states of one endpoint.
    public static let valuesPerEndpoint = 64
    /// Bytes of one application state's value: the claims of 5,000 tokens fit.
    public static let valueBytes = 64 << 10
    /// Bytes of the cluster's or the partitioner's name.
    public static let nameBytes = 256
    /// Bytes of an address in text.
    public static let addressBytes = 64
    /// States sent in one answer, about; at least one endpoint is always sent whole.
    public static let deltaBytes = 128 << 10
}
