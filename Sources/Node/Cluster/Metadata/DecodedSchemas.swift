import Cluster
import DataModel
import Synchronization

/// A cache of the schemas of the last two versions of the metadata.
///
/// Most changes of members leave the schema as it is, and a schema that was decoded to prepare a change is needed again
/// to apply it.
///
/// **Thread safety**: all methods, from any thread.
final class DecodedSchemas: Sendable {
    private let last = Mutex<[(bytes: [UInt8], schema: Schema)]>([])

    /// The version before a change and the one after it.
    private static let count = 2

    func schema(of metadata: ClusterMetadata) throws(SchemaDecodingError) -> Schema {
        if let known = last.withLock({ $0.first { $0.bytes == metadata.schema }?.schema }) { return known }
        let schema = try MetadataStore.schema(of: metadata)
        last.withLock { last in
            last.insert((metadata.schema, schema), at: 0)
            if last.count > DecodedSchemas.count { last.removeLast() }
        }
        return schema
    }
}
