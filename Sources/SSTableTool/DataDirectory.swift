import Cluster
import DataModel
import Platform
import Primitives
import Storage

/// Finds sstables and their tables' schemas by path.
struct DataDirectory {
    let system: any FileSystem

    /// Returns the sstables for a path: a single sstable, those of a table's directory, or all in a data directory.
    func files(_ path: String) throws -> [String] {
        if path.hasSuffix(".sst") { return [path] }
        return try tableDirectories(path).flatMap { try OfflineTables(system: system).files(directory: $0) }
    }

    /// Returns the table directories at or below a path.
    func tableDirectories(_ path: String) throws -> [String] {
        let tables = OfflineTables(system: system)
        if tables.hasManifest(path) { return [path] }
        let root = system.exists(path + "/data") ? path + "/data" : path
        guard system.exists(root) else { throw FileError("read", path: path, reason: .notFound) }
        var found: [String] = []
        for keyspace in try system.list(root).sorted() {
            let inner = root + "/" + keyspace
            if tables.hasManifest(inner) {
                found.append(inner)
                continue
            }
            guard let names = try? system.list(inner) else { continue }  // not a directory
            for name in names.sorted() where tables.hasManifest(inner + "/" + name) { found.append(inner + "/" + name) }
        }
        return found
    }

    /// Returns the schema in a node's data directory; nil when there is none.
    private func schema(of directory: String) -> Schema? {
        let file = directory + "/metadata"
        guard system.exists(file), let bytes = try? system.readAll(file),
            let acceptor = try? MetadataAcceptor(decoding: bytes)
        else {
            return nil
        }
        return try? Schema(decoding: acceptor.current.schema)
    }

    /// Returns the table of an sstable, according to the `schema` file in its directory or the schema of its data
    /// directory; nil when unknown.
    func table(of path: String) -> TableMetadata? {
        var parts = path.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        if path.hasSuffix(".sst") { parts.removeLast() }
        if parts.count >= 2, parts[parts.count - 2] == "snapshots" { parts.removeLast(2) }
        if let beside = try? OfflineDirectory(system: system, path: parts.joined(separator: "/")).table() {
            return beside.table
        }
        guard let directory = parts.last, let dash = directory.lastIndex(of: "-") else { return nil }
        let id = directory[directory.index(after: dash)...]
        for depth in stride(from: parts.count - 1, through: 0, by: -1) {
            guard let schema = schema(of: depth == 0 ? "." : parts[..<depth].joined(separator: "/")) else { continue }
            for keyspace in schema.sortedKeyspaces {
                for table in keyspace.tables.values where table.id.description.filter({ $0 != "-" }) == id {
                    return table
                }
            }
        }
        return nil
    }
}
