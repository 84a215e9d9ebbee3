import DataModel
import Platform

/// A snapshot of one table.
public struct SnapshotInfo: Sendable {
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

    public func snapshots(of table: TableStore) throws(StorageError) -> [SnapshotInfo] {
        do { return try snapshots(in: table.directory) } catch { throw .file(error) }
    }

    /// The snapshots of all tables, also of those that are dropped or emptied since, with the names of their directories, as `openTable` takes them.
    public func allSnapshots() throws(StorageError) -> [(table: String, snapshot: SnapshotInfo)] {
        let data = directory + "/data"
        var found: [(table: String, snapshot: SnapshotInfo)] = []
        do {
            for keyspace in try core.system.list(data).sorted() {
                for name in try core.system.list(data + "/" + keyspace).sorted() {
                    found += try snapshots(in: data + "/" + keyspace + "/" + name).map { (keyspace + "/" + name, $0) }
                }
            }
            return found
        } catch { throw .file(error) }
    }

    private func snapshots(in table: String) throws(FileError) -> [SnapshotInfo] {
        let parent = table + "/" + StorageEngine.snapshotsName
        guard core.system.exists(parent) else { return [] }
        var found: [SnapshotInfo] = []
        for name in try core.system.list(parent).sorted() {
            guard core.system.exists(parent + "/" + name + "/" + Manifest.fileName) else { continue }
            var bytes = 0
            for file in try core.system.list(parent + "/" + name) {
                let open = try core.system.open(parent + "/" + name + "/" + file, .read)
                bytes += try open.size()
                open.close()
            }
            found.append(SnapshotInfo(name: name, directory: parent + "/" + name, bytes: bytes))
        }
        return found
    }

    /// Removes a snapshot, and what is left of its table's directory when that has nothing else.
    public func clear(_ snapshot: SnapshotInfo) throws(StorageError) {
        let table = snapshot.directory.split(separator: "/", omittingEmptySubsequences: false).dropLast(2).joined(separator: "/")
        do throws(FileError) {
            try removeSnapshot(snapshot.directory)
            if !allTables.contains(where: { $0.directory == table }), core.system.exists(table) { try removeLeftover(table) }
        } catch { throw .file(error) }
    }

    /// Removes one snapshot of a table, or all of them; returns how many.
    public func clearSnapshots(of table: TableStore, name: String?) throws(StorageError) -> Int {
        var removed = 0
        for snapshot in try snapshots(of: table) where name == nil || snapshot.name == name {
            do { try removeSnapshot(snapshot.directory) } catch { throw .file(error) }
            removed += 1
        }
        return removed
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
