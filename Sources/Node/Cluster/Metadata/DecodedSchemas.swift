import Cluster
import DataModel
import Synchronization

/// The schemas of the last versions of the metadata: most changes of members leave the schema as it is, and one that was decoded to prepare a change is
/// asked for again to carry it out.
///
/// **Thread safety**: all methods, from any thread.
final class DecodedSchemas: Sendable {
    private let last = Mutex<[(bytes: [UInt8], schema: Schema)]>([])

    /// Of the version before, and of the one that follows.
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
