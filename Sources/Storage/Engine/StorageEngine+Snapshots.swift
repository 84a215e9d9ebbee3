import DataModel
import Platform

/// A snapshot of one table.
public struct SnapshotInfo: Sendable {
    /// The directory of the snapshot's table, as `openTable` takes it: `KEYSPACE/TABLE`.
    public var table: String
    public var name: String
    public var directory: String
    /// Bytes of its files. They share disk space with the table's sstables as long as the table has those too.
    public var bytes: Int
}

extension StorageEngine {
    /// Flushes a table and hard-links its sstables into `snapshots/NAME` of its directory. Copies no data.
    ///
    /// The snapshot's manifest is written last and removed first: a directory without one is an incomplete snapshot.
    /// - Parameter definition: the schema to write beside the files, as `OfflineDirectory` does, so that they can be
    ///   imported.
    /// - Throws: `file` with `alreadyExists` when the table has a snapshot with this name.
    public func snapshot(
        _ table: TableStore, name: String, definition: (keyspace: KeyspaceMetadata, table: TableMetadata)? = nil
    ) throws(StorageError) {
        try flush(table)
        let target = table.directory + "/" + StorageEngine.snapshotsName + "/" + name
        guard !core.system.exists(target + "/" + Manifest.fileName) else {
            throw .file(FileError("snapshot", path: target, reason: .alreadyExists))
        }
        let tables = table.tables
        do throws(StorageError) {
            do {
                if core.system.exists(target) { try removeSnapshot(target) }
                try core.system.createDirectory(target)
                for one in tables {
                    try core.system.link(one.path, to: target + "/" + Manifest.sstableFileName(one.id))
                }
            } catch { throw .file(error) }
            if let definition {
                try OfflineDirectory(system: core.system, path: target).describe(definition.keyspace, definition.table)
            }
            var manifest = Manifest()
            manifest.tables = tables.map(\.id)
            try manifest.write(core.system, directory: target)
        } catch {
            // Do not leave an incomplete snapshot behind.
            do { try removeSnapshot(target) } catch {}  // report the first failure
            throw error
        }
    }

    /// All snapshots, including those of tables dropped or truncated since.
    public func snapshots() throws(StorageError) -> [SnapshotInfo] {
        let (system, data) = (core.system, directory + "/data")
        var found: [SnapshotInfo] = []
        do throws(FileError) {
            for keyspace in try system.list(data).sorted() {
                for table in try system.list(data + "/" + keyspace).sorted() {
                    let parent = data + "/" + keyspace + "/" + table + "/" + StorageEngine.snapshotsName
                    guard system.exists(parent) else { continue }
                    for name in try system.list(parent).sorted() {
                        let path = parent + "/" + name
                        guard system.exists(path + "/" + Manifest.fileName) else { continue }
                        var bytes = 0
                        for file in try system.list(path) {
                            let open = try system.open(path + "/" + file, .read)
                            bytes += try open.size()
                            open.close()
                        }
                        found.append(
                            SnapshotInfo(table: keyspace + "/" + table, name: name, directory: path, bytes: bytes))
                    }
                }
            }
        } catch { throw .file(error) }
        return found
    }

    /// Removes a snapshot, and its table's directory when the table is gone and nothing else is left in it.
    public func clear(_ snapshot: SnapshotInfo) throws(StorageError) {
        let table = directory + "/data/" + snapshot.table
        do throws(FileError) {
            try removeSnapshot(snapshot.directory)
            if !allTables.contains(where: { $0.directory == table }), core.system.exists(table) {
                try removeLeftover(table)
            }
        } catch { throw .file(error) }
    }

    private func removeSnapshot(_ path: String) throws(FileError) {
        let system = core.system
        if system.exists(path + "/" + Manifest.fileName) {
            try system.remove(path + "/" + Manifest.fileName)
            try system.syncDirectory(path)
        }
        for file in try system.list(path) { try system.remove(path + "/" + file) }
        try system.syncDirectory(path)
        try system.removeDirectory(path)
        if let slash = path.lastIndex(of: "/") { try system.syncDirectory(String(path[..<slash])) }
    }

    /// Removes the incomplete snapshots a crash left in a table's directory.
    func removeIncompleteSnapshots(_ table: String) throws(FileError) {
        let parent = table + "/" + StorageEngine.snapshotsName
        guard core.system.exists(parent) else { return }
        for name in try core.system.list(parent) {
            let files = try core.system.list(parent + "/" + name)
            let isHalf = files.allSatisfy { StorageEngine.isTableFile($0) || OfflineDirectory.names.contains($0) }
            if files.contains(Manifest.fileName) || !isHalf { continue }
            try removeSnapshot(parent + "/" + name)
        }
    }
}
