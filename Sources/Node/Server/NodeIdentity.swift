import Platform
import Primitives

/// The identity of a data directory: created once and kept for ever.
///
///     identity := "auspex node 1\n" "host UUID\n" "cluster NAME\n"
enum NodeIdentity {
    static let fileName = "identity"

    /// Returns the host id of a data directory; creates one if there is none.
    /// - Throws: `identity` when the directory belongs to another cluster.
    static func read(_ system: any FileSystem, directory: String, clusterName: String, seed: UInt64) throws(NodeError)
        -> UUID
    {
        let path = directory + "/" + fileName
        let lines: [Substring]
        do throws(FileError) {
            guard system.exists(path) else {
                var random = SeededRandom(seed: seed)
                let host = UUID.random(using: &random)
                let text = "auspex node 1\nhost \(host)\ncluster \(clusterName)\n"
                try system.replace(path, with: Array(text.utf8), directory: directory)
                return host
            }
            lines = String(decoding: try system.readAll(path), as: UTF8.self).split(
                separator: "\n", omittingEmptySubsequences: false)
        } catch { throw .file(error) }
        guard lines.count >= 3, lines[0] == "auspex node 1", let host = UUID(lines[1].dropFirst(5)) else {
            throw .identity("\(path) does not contain this node's identity; restore it from a backup")
        }
        let cluster = lines[2].dropFirst(8)
        guard cluster == clusterName else {
            throw .identity(
                "\(directory) belongs to the cluster \"\(cluster)\", not \"\(clusterName)\"; correct cluster_name or use another directory"
            )
        }
        return host
    }
}
