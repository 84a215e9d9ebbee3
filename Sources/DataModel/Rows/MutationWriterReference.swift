/// A reference to a mutation writer, for use in arrays: the writer itself is not copyable.
public final class MutationWriterReference {
    public var writer = MutationWriter(capacity: 128)

    public init() {}
}
