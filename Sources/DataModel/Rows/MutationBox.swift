/// Holds a mutation writer, which cannot be copied, in an array.
public final class MutationBox {
    public var writer = MutationWriter(capacity: 128)

    public init() {}
}
