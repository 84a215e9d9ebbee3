import DataModel
import Platform

/// Directories of tables that are gone.
///
/// A table is dropped by the schema that no longer names it, and its directory goes after that: a crash between leaves the directory. A table is made before
/// the schema names it: a crash between leaves an empty one. Both are removed at the next start.
extension StorageEngine {
    /// Removes what no table owns under `data/`. Call it only with a schema that was read in full, after its tables were opened.
    ///
    /// 1. What a crash left of a snapshot that was being made or removed goes, of every table.
    /// 2. A directory `data/KEYSPACE/TABLE` is a leftover when neither `tables` nor an open table has it.
    /// 3. One that holds anything but a table's files and snapshots is left as it is.
    /// 4. Its files go; then the directory, unless it has snapshots, which stay.
    /// 5. A keyspace's directory that is empty then goes, if `keyspaces` does not have it.
    ///
    /// What is removed, and what cannot be, is told to the observer. A crash anywhere leaves less to remove at the next start.
    /// - Parameters:
    ///   - tables: the names of all tables, as `openTable` takes them: `KEYSPACE/TABLE`.
    ///   - keyspaces: the names of all keyspaces.
    public func removeLeftovers(tables: Set<String>, keyspaces: Set<String>) {
        let system = core.system
        let data = directory + "/data"
        let open = Set(allTables.map(\.directory))
        do {
            for keyspace in try system.list(data).sorted() {
                let parent = data + "/" + keyspace
                do throws(FileError) {
                    for name in try system.list(parent).sorted() {
                        let path = parent + "/" + name
                        try removeHalfSnapshots(path)
                        if tables.contains(keyspace + "/" + name) || open.contains(path) { continue }
                        try removeLeftover(path)
                    }
                    if !keyspaces.contains(keyspace), try system.list(parent).isEmpty {
                        try system.removeDirectory(parent)
                        try system.syncDirectory(data)
                    }
                } catch { report("what no table of the schema owns in \(parent) remains: \(error)") }
            }
        } catch { report("what no table of the schema owns in \(data) remains: \(error)") }
    }

    func removeLeftover(_ path: String) throws(FileError) {
        let names = try core.system.list(path)
        if let stranger = names.sorted().first(where: { !StorageEngine.isTableFile($0) && $0 != StorageEngine.snapshotsName }) {
            return report("no table of the schema owns \(path), but it is not removed, since it holds \(stranger)")
        }
        let hasSnapshots = try removeTableFiles(path)
        if hasSnapshots && names.count == 1 { return }
        core.observer(.removedLeftover(directory: path, hasSnapshots: hasSnapshots))
    }

    /// Removes a table's files from its directory, and the directory unless it has snapshots. A file may go meanwhile with its last reader.
    /// - Returns: whether it has.
    func removeTableFiles(_ path: String) throws(FileError) -> Bool {
        let system = core.system
        let names = try system.list(path)
        // A drop, the end of a compaction and that of the last reader may each remove what the others are about to.
        func unlessGone(_ remove: () throws(FileError) -> Void) throws(FileError) {
            do throws(FileError) { try remove() } catch { if error.reason != .notFound { throw error } }
        }
        // The manifest last: files without one are no table, and stand in the way of a new one.
        for name in names where StorageEngine.isTableFile(name) && name != Manifest.fileName {
            try unlessGone { () throws(FileError) in try system.remove(path + "/" + name) }
        }
        if names.contains(Manifest.fileName) {
            try unlessGone { () throws(FileError) in try system.remove(path + "/" + Manifest.fileName) }
        }
        if names.contains(StorageEngine.snapshotsName) {
            let snapshots = path + "/" + StorageEngine.snapshotsName
            guard try system.list(snapshots).isEmpty else {
                try system.syncDirectory(path)
                return true
            }
            try system.removeDirectory(snapshots)
        }
        try unlessGone { () throws(FileError) in try system.removeDirectory(path) }
        if let slash = path.lastIndex(of: "/") { try system.syncDirectory(String(path[..<slash])) }
        return false
    }

    static let snapshotsName = "snapshots"

    static func isTableFile(_ name: String) -> Bool {
        name == Manifest.fileName || Manifest.tableNumber(name) != nil || name.hasSuffix(".tmp")
    }
}
