import DataModel
import Platform
import Primitives

/// A finished file of a table that comes from another node piece by piece.
///
/// Until `finish` it is a stray in the table's directory, which the next start removes: a crash leaves the table as it was.
/// **Thread safety**: one thread at a time.
public final class IncomingTable {
    private let engine: StorageEngine
    private let table: TableStore
    private let number: UInt32
    private let path: String
    private let file: any File
    /// Bytes so far.
    public private(set) var count = 0

    /// - Throws: `file` when there is no room, or no right to make it.
    public init(engine: StorageEngine, table: TableStore) throws(StorageError) {
        self.engine = engine
        self.table = table
        number = engine.core.newTableNumber()
        path = table.directory + "/" + Manifest.tableFile(number)
        do { file = try engine.core.system.open(path, .create) } catch { throw .file(error) }
    }

    public func append(_ bytes: [UInt8]) throws(StorageError) {
        do {
            try bytes.withUnsafeBytesTyped { (raw) throws(FileError) in try file.write(raw, at: count) }
        } catch { throw .file(error) }
        count += bytes.count
    }

    /// Verifies every byte of the file and makes it a part of the table, on the disk when this returns.
    /// - Returns: its rows.
    /// - Throws: `damaged` when it is not what was sent; `stopped` when the table was dropped meanwhile. Nothing is left then.
    public func finish() throws(StorageError) -> Int {
        do throws(StorageError) {
            do {
                try file.sync()
                try engine.core.system.syncDirectory(table.directory)
            } catch { throw .file(error) }
            file.close()
            let report = try SSTableVerifier(system: engine.core.system, path: path).verify()
            if let problem = report.problems.first {
                throw .damaged(
                    path: path, offset: problem.offset, "what came from another node is damaged: \(problem.place): \(problem.message)")
            }
            let opened = try SSTable(system: engine.core.system, path: path, id: number, cache: engine.core.cache)
            guard try table.install(imported: [opened]) else { throw .stopped("the table was dropped meanwhile") }
            engine.scheduleCompaction(table)
            return opened.statistics.rowCount
        } catch {
            table.discard([path])
            throw error
        }
    }

    /// Gives it up.
    public func abandon() {
        file.close()
        table.discard([path])
    }
}

extension TableStore {
    /// The files all of whose keys lie in these stretches.
    /// - Parameter stretches: in order, and not touching each other.
    public func files(within stretches: [KeyRange]) -> [SSTable] {
        tables.filter { table in
            stretches.contains {
                compareBytes($0.start, table.statistics.firstKey) <= 0 && compareBytes(table.statistics.lastKey, $0.end) < 0
            }
        }
    }
}

extension SSTable {
    /// Stored bytes of the file as they stand; fewer at its end.
    public func piece(at offset: Int, upTo count: Int) throws(StorageError) -> [UInt8] {
        guard offset >= 0, count >= 0, offset < fileBytes else { return [] }
        return try SSTable.readRaw(file, offset: offset, count: min(count, fileBytes - offset))
    }
}
