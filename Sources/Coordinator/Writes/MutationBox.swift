import DataModel

/// Holds a mutation writer, which cannot be copied, in an array.
final class MutationBox {
    var writer = MutationWriter(capacity: 128)
}
