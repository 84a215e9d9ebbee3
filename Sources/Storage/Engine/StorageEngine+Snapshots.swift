import DataModel
import Platform

/// A snapshot of one table.
public struct SnapshotInfo: Sendable {
    /// The name of its table's directory, as `openTable` takes it.
    public var table: String
    public var name: String
    public var directory: String
    /// Bytes of its files, shared with the table as long as that has them too.
    public var bytes: Int
}

extension StorageEngine {
    /// Names the files a table has now once more, in `snapshots/NAME` of its directory, after a flush; costs no copy.
    ///
    /// The snapshot's manifest comes last and goes first: without it there is no snapshot, only what a crash left of one.
    /// - Parameter definition: what the table is, written beside its files as `OfflineDirectory` has it, so that they can be imported.
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
                for one in tables { try core.system.link(one.path, to: target + "/" + Manifest.tableFile(one.id)) }
            } catch { throw .file(error) }
            if let definition {
                try OfflineDirectory(system: core.system, path: target).describe(definition.keyspace, definition.table)
            }
            var manifest = Manifest()
            manifest.tables = tables.map(\.id)
            try manifest.write(core.system, directory: target)
        } catch {
            // Half a snapshot is none, and must not stay.
            do { try removeSnapshot(target) } catch {}  // the first failure is the one to tell
            throw error
        }
    }

    /// The snapshots of all tables, also of those that are dropped or emptied since.
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
                        found.append(SnapshotInfo(table: keyspace + "/" + table, name: name, directory: path, bytes: bytes))
                    }
                }
            }
        } catch { throw .file(error) }
        return found
    }

    /// Removes a snapshot, and what is left of its table's directory when that has nothing else.
    public func clear(_ snapshot: SnapshotInfo) throws(StorageError) {
        let table = directory + "/data/" + snapshot.table
        do throws(FileError) {
            try removeSnapshot(snapshot.directory)
            if !allTables.contains(where: { $0.directory == table }), core.system.exists(table) { try removeLeftover(table) }
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

    /// Removes what a crash left of snapshots that were being made or removed in a table's directory.
    func removeHalfSnapshots(_ table: String) throws(FileError) {
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
