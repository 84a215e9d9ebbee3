import DataModel
import Platform

/// Removal of directories that belong to no table.
///
/// A drop first changes the schema, then removes the directory: a crash in between leaves the directory. A create first
/// makes the directory, then changes the schema: a crash in between leaves an empty directory. The next start removes
/// both.
extension StorageEngine {
    /// Removes directories under `data/` that no table owns. Call it only with a completely read schema, after its
    /// tables were opened.
    ///
    /// 1. Remove the incomplete snapshots of every table.
    /// 2. A directory `data/KEYSPACE/TABLE` is a leftover when it is neither in `tables` nor the directory of an open
    ///    table.
    /// 3. Keep a leftover that holds anything but a table's files and snapshots.
    /// 4. Remove its files; then the directory, unless it has snapshots, which are kept.
    /// 5. Remove a keyspace directory that is then empty and is not in `keyspaces`.
    ///
    /// The observer is told what was removed and what could not be. After a crash the next start continues.
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
                        try removeIncompleteSnapshots(path)
                        if tables.contains(keyspace + "/" + name) || open.contains(path) { continue }
                        try removeLeftover(path)
                    }
                    if !keyspaces.contains(keyspace), try system.list(parent).isEmpty {
                        try system.removeDirectory(parent)
                        try system.syncDirectory(data)
                    }
                } catch { report("cannot remove the leftover directories in \(parent): \(error)") }
            }
        } catch { report("cannot remove the leftover directories in \(data): \(error)") }
    }

    func removeLeftover(_ path: String) throws(FileError) {
        let names = try core.system.list(path)
        if let stranger = names.sorted().first(where: {
            !StorageEngine.isTableFile($0) && $0 != StorageEngine.snapshotsName
        }) {
            return report("kept \(path), which belongs to no table of the schema, because it contains \(stranger)")
        }
        let hasSnapshots = try removeTableFiles(path)
        if hasSnapshots && names.count == 1 { return }
        core.observer(.removedLeftover(directory: path, hasSnapshots: hasSnapshots))
    }

    /// Removes a table's files from its directory, and the directory unless it has snapshots. A file may disappear
    /// meanwhile, when its last reader closes it.
    /// - Returns: whether the directory has snapshots and was kept.
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
        name == Manifest.fileName || Manifest.sstableNumber(name) != nil || name.hasSuffix(".tmp")
    }
}
