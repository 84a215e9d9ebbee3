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
    public func snapshot(_ table: TableStore, name: String) throws(StorageError) {
        try flush(table)
        let target = table.directory + "/" + StorageEngine.snapshotsName + "/" + name
        guard !core.system.exists(target) else {
            throw .file(FileError("snapshot", path: target, reason: .alreadyExists))
        }
        let tables = table.tables
        do throws(StorageError) {
            do {
                try core.system.createDirectory(target)
                for one in tables { try core.system.link(one.path, to: target + "/" + Manifest.tableFile(one.id)) }
            } catch { throw .file(error) }
            var manifest = Manifest()
            manifest.tables = tables.map(\.id)
            try manifest.write(core.system, directory: target)
        } catch {
            // Half a snapshot is none, and must not stand in the way of the next attempt.
            do {
                for file in try core.system.list(target) { try core.system.remove(target + "/" + file) }
                try core.system.removeDirectory(target)
            } catch {}  // the first failure is the one to tell
            throw error
        }
    }

    public func snapshots(of table: TableStore) throws(StorageError) -> [SnapshotInfo] {
        let parent = table.directory + "/" + StorageEngine.snapshotsName
        guard core.system.exists(parent) else { return [] }
        do {
            var found: [SnapshotInfo] = []
            for name in try core.system.list(parent).sorted() {
                var bytes = 0
                for file in try core.system.list(parent + "/" + name) {
                    let open = try core.system.open(parent + "/" + name + "/" + file, .read)
                    bytes += try open.size()
                    open.close()
                }
                found.append(SnapshotInfo(name: name, directory: parent + "/" + name, bytes: bytes))
            }
            return found
        } catch { throw .file(error) }
    }

    /// Removes one snapshot of a table, or all of them; returns how many.
    public func clearSnapshots(of table: TableStore, name: String?) throws(StorageError) -> Int {
        var removed = 0
        for snapshot in try snapshots(of: table) where name == nil || snapshot.name == name {
            do {
                for file in try core.system.list(snapshot.directory) { try core.system.remove(snapshot.directory + "/" + file) }
                try core.system.removeDirectory(snapshot.directory)
            } catch { throw .file(error) }
            removed += 1
        }
        return removed
    }
}
