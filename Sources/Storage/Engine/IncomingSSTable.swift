import DataModel
import Platform
import Primitives

/// An sstable being received from another node piece by piece.
///
/// Until `finish` the table's manifest does not name the file and the next start removes it: a crash leaves the table
/// unchanged.
/// **Thread safety**: one thread at a time.
public final class IncomingSSTable {
    private let engine: StorageEngine
    private let table: TableStore
    private let number: UInt32
    private let path: String
    private let file: any File
    /// Bytes received so far.
    public private(set) var count = 0

    /// - Throws: `file` when the file cannot be created.
    public init(engine: StorageEngine, table: TableStore) throws(StorageError) {
        self.engine = engine
        self.table = table
        number = engine.core.newSSTableNumber()
        path = table.directory + "/" + Manifest.sstableFileName(number)
        do { file = try engine.core.system.open(path, .create) } catch { throw .file(error) }
    }

    public func append(_ bytes: [UInt8]) throws(StorageError) {
        do {
            try bytes.withUnsafeBytesTyped { (raw) throws(FileError) in try file.write(raw, at: count) }
        } catch { throw .file(error) }
        count += bytes.count
    }

    /// Verifies every byte of the file and adds it to the table; durable when this returns.
    /// - Returns: the number of its rows.
    /// - Throws: `damaged` when the file fails verification; `stopped` when the table was dropped meanwhile. The file
    ///   is then removed.
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
                    path: path, offset: problem.offset,
                    "the file received from another node is damaged: \(problem.place): \(problem.message)")
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

    /// Cancels the transfer and removes the file.
    public func abandon() {
        file.close()
        table.discard([path])
    }
}

extension TableStore {
    /// Returns the sstables whose keys all lie within one of these ranges.
    /// - Parameter stretches: sorted ranges that neither overlap nor adjoin.
    public func files(within stretches: [KeyRange]) -> [SSTable] {
        tables.filter { table in
            stretches.contains {
                compareBytes($0.start, table.statistics.firstKey) <= 0
                    && compareBytes(table.statistics.lastKey, $0.end) < 0
            }
        }
    }
}

extension SSTable {
    /// Returns raw bytes of the file; fewer at its end.
    public func piece(at offset: Int, upTo count: Int) throws(StorageError) -> [UInt8] {
        guard offset >= 0, count >= 0, offset < fileBytes else { return [] }
        return try SSTable.readRaw(file, offset: offset, count: min(count, fileBytes - offset))
    }
}
