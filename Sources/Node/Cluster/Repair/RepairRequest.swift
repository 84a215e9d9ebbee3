import Cluster
import Primitives

/// What is to be repaired.
struct RepairRequest: Sendable {
    /// All keyspaces of users when nil.
    var keyspace: String?
    var table: String?
    /// The whole ring when nil.
    var tokens: TokenRange?
    /// Repair all replicas of all ranges, not only those of ranges this node holds.
    var isEverywhere = false
    /// Report what would move, and move nothing.
    var isPreview = false
    /// Begin anew, even when an interrupted repair of the same could go on.
    var isFresh = false

    /// Identifies the same repair among those that were interrupted.
    var name: String {
        let range = tokens.map { "\($0.after):\($0.through)" } ?? "*"
        let text = "\(keyspace ?? "*").\(table ?? "*") \(range) \(isEverywhere)"
        return String(Checksum.xxh3(Array(text.utf8)), radix: 16)
    }
}
