import DataModel
import Platform
import Primitives

/// The result of an import.
public struct ImportReport: Sendable, Equatable {
    public var files = 0
    public var rows = 0
    public var bytes = 0
    /// Files that were rewritten because the table uses other column ids.
    public var rewritten = 0
}

/// The reason nothing was imported.
public enum ImportError: Error, Sendable {
    /// The directory or one of its files is not valid for this table.
    case refused(String)
    case storage(StorageError)
}

/// Imports finished sstables into a table that is in use.
///
/// 1. Every file named in the directory's manifest is hard-linked, or copied from another file system, under a new
///    number of the table. When the table uses other column ids, the file is rewritten instead.
/// 2. The files now in the table's directory are synced and verified byte by byte, and every row is passed to
///    `complaint`.
/// 3. One edit of the table's manifest makes all of them visible.
///
/// Until step 3 the manifest does not name the files and the next start removes them: a crash leaves the table with all
/// of them or none.
struct TableImport {
    let engine: StorageEngine
    let table: TableStore
    let source: String
    /// Maps column ids in the files to the table's column ids, where they differ.
    let renumbered: [Int: Int]
    /// Returns what is wrong with a row of the files, or nil.
    let complaint: (UnsafeRawBufferPointer, RowView) -> String?

    private var system: any FileSystem { engine.core.system }

    func run() throws(ImportError) -> ImportReport {
        guard system.exists(source + "/" + Manifest.fileName) else {
            throw .refused("\(source) holds no sstables: it has no \(Manifest.fileName)")
        }
        guard source != table.directory else { throw .refused("\(source) is the table's own directory") }
        let manifest = try orFail { () throws(StorageError) in try Manifest.read(system, directory: source) }
        var added: [SSTable] = []
        var paths: [String] = []
        var report = ImportReport()
        do throws(ImportError) {
            for number in manifest.tables.sorted() {
                let one = try take(source + "/" + Manifest.sstableFileName(number), &paths, &report)
                report.files += 1
                report.rows += one.statistics.rowCount
                report.bytes += one.fileBytes
                added.append(one)
            }
            if !added.isEmpty { try install(added) }
        } catch {
            table.discard(paths)
            throw error
        }
        return report
    }

    private func orFail<R>(_ body: () throws(StorageError) -> R) throws(ImportError) -> R {
        do { return try body() } catch { throw .storage(error) }
    }

    private func orFail<R>(_ body: () throws(FileError) -> R) throws(ImportError) -> R {
        do { return try body() } catch { throw .storage(.file(error)) }
    }

    /// Brings one file into the table's directory, verifies it there and opens it.
    private func take(_ from: String, _ paths: inout [String], _ report: inout ImportReport) throws(ImportError)
        -> SSTable
    {
        let id = engine.core.newSSTableNumber()
        let path = table.directory + "/" + Manifest.sstableFileName(id)
        if !renumbered.isEmpty {
            // Verify the source: a rewritten file has good checksums whatever it was made from.
            try verify(from, as: from)
            paths.append(path)
            try orFail { () throws(StorageError) in try rewrite(from, to: path) }
            report.rewritten += 1
        } else {
            paths.append(path)
            do throws(FileError) { try system.link(from, to: path) } catch { try copy(from, to: path) }
        }
        try orFail { () throws(FileError) in
            let file = try system.open(path, .read)
            defer { file.close() }
            try file.sync()
        }
        try verify(path, as: from)
        let opened = try orFail { () throws(StorageError) in
            try SSTable(system: system, path: path, id: id, cache: engine.core.cache)
        }
        try checkRows(opened, from)
        return opened
    }

    private func copy(_ from: String, to path: String) throws(ImportError) {
        let input: any File
        do throws(FileError) { input = try system.open(from, .read) } catch { throw .refused(error.description) }
        defer { input.close() }
        try orFail { () throws(StorageError) in
            do {
                let output = try system.open(path, .create)
                defer { output.close() }
                let size = try input.size()
                var offset = 0
                while offset < size {
                    let piece = try SSTable.readRaw(input, offset: offset, count: min(1 << 20, size - offset))
                    try piece.withUnsafeBytesTyped { (bytes) throws(FileError) in try output.write(bytes, at: offset) }
                    offset += piece.count
                }
            } catch let error as StorageError {
                throw error
            } catch let error as FileError {
                throw StorageError.file(error)
            } catch { throw StorageError.stopped("\(error)") }
        }
    }

    private func verify(_ path: String, as shown: String) throws(ImportError) {
        let report = try orFail { () throws(StorageError) in try SSTableVerifier(system: system, path: path).verify() }
        guard let problem = report.problems.first else { return }
        throw .refused(
            "\(shown) is damaged: \(problem.place) at byte \(problem.offset): \(problem.message); nothing was imported")
    }

    private func checkRows(_ opened: SSTable, _ shown: String) throws(ImportError) {
        var found: String?
        let cursor = SSTableCursor(opened, range: .all, direction: .forward, isBulk: true)
        try orFail { () throws(StorageError) in
            var more = try cursor.start()
            while more {
                found = complaint(cursor.key, RowView(cursor.value))
                if found != nil { return }
                more = try cursor.advance()
            }
        }
        if let found { throw .refused("\(shown) does not fit the table: \(found); nothing was imported") }
    }

    /// Rewrites a file's rows with the table's column ids.
    private func rewrite(_ from: String, to path: String) throws(StorageError) {
        let original = try SSTable(system: system, path: from, id: 0, cache: nil)
        let writer = try SSTableWriter(
            system: system, path: path, options: table.options.files, createdAt: original.statistics.createdAt,
            sources: original.statistics.sources)
        do throws(StorageError) {
            let cursor = SSTableCursor(original, range: .all, direction: .forward, isBulk: true)
            var row = ByteWriter(capacity: 1024)
            var more = try cursor.start()
            while more {
                row.removeAll()
                renumber(RowView(cursor.value), into: &row)
                try writer.add(key: cursor.key, row: row.bytes)
                more = try cursor.advance()
            }
            let tombstones = TombstoneCursor(original, isBulk: true)
            var another = try tombstones.seekToFirst()
            while another {
                try writer.addTombstone(try tombstones.tombstone())
                another = try tombstones.advance()
            }
            _ = try writer.finish()
        } catch {
            writer.abandon()
            throw error
        }
    }

    private func renumber(_ row: RowView, into out: inout ByteWriter) {
        var writer = RowWriter()
        writer.begin(
            timestamp: row.base, liveness: row.hasLiveness, ttl: row.livenessTTL, expires: row.livenessExpires,
            deletion: row.deletion,
            into: &out)
        var cells = row.cells
        while cells.advance() {
            let column = renumbered[cells.column] ?? cells.column
            let hasPath = cells.flags.contains(.hasPath)
            if cells.isComplexDeletion {
                writer.complexDeletion(column: column, deletion: cells.deletion, into: &out)
            } else if cells.isTombstone {
                if hasPath {
                    writer.tombstone(column: column, path: cells.path, deletion: cells.deletion, into: &out)
                } else {
                    writer.tombstone(column: column, deletion: cells.deletion, into: &out)
                }
            } else if hasPath {
                writer.cell(
                    column: column, path: cells.path, timestamp: cells.timestamp, ttl: cells.ttl,
                    expires: cells.localDeletion,
                    value: cells.value, into: &out)
            } else {
                writer.cell(
                    column: column, timestamp: cells.timestamp, ttl: cells.ttl, expires: cells.localDeletion,
                    value: cells.value,
                    isCounter: cells.flags.contains(.counter), into: &out)
            }
        }
        writer.end(into: &out)
    }

    private func install(_ added: [SSTable]) throws(ImportError) {
        try orFail { () throws(FileError) in try system.syncDirectory(table.directory) }
        let isInstalled = try orFail { () throws(StorageError) in try table.install(imported: added) }
        guard isInstalled else { throw .refused("the table was dropped meanwhile") }
    }
}

extension StorageEngine {
    /// Imports all files of a directory into a table, or none; the directory is left unchanged. May take long.
    /// - Parameters:
    ///   - renumbered: maps column ids in the files to the table's column ids, where they differ.
    ///   - complaint: returns what is wrong with a key and row, or nil; called for every row, with the table's column
    ///     ids.
    public func importTables(
        into table: TableStore, from directory: String, renumbered: [Int: Int],
        complaint: (UnsafeRawBufferPointer, RowView) -> String?
    ) throws(ImportError) -> ImportReport {
        let report = try withoutActuallyEscaping(complaint) { (complaint) throws(ImportError) in
            try TableImport(engine: self, table: table, source: directory, renumbered: renumbered, complaint: complaint)
                .run()
        }
        scheduleCompaction(table)
        return report
    }
}
