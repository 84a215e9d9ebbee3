import Platform
import Primitives
import Repair

/// The progress of repairs on the disk, so that an interrupted one goes on where it was.
///
/// One file a job in `repairs/`: `ring epoch(8, big-endian) progress`. It counts only while the members are the same.
struct RepairProgressFiles: Sendable {
    private let system: any FileSystem
    private let directory: String
    private let log: OperatorLog

    static let directoryName = "repairs"

    init(system: any FileSystem, dataDirectory: String, log: OperatorLog) {
        self.system = system
        directory = dataDirectory + "/" + RepairProgressFiles.directoryName
        self.log = log
    }

    private func path(_ file: String) -> String { directory + "/" + file }

    /// The progress of an interrupted job; nil when there is none, or the members have changed since.
    func read(_ file: String, ringEpoch: UInt64) -> RepairProgress? {
        guard system.exists(path(file)) else { return nil }
        do {
            let bytes = try system.readAll(path(file))
            guard bytes.count > 8, bytes.prefix(8).reduce(UInt64(0), { $0 << 8 | UInt64($1) }) == ringEpoch else {
                return nil
            }
            let progress = try RepairProgress(Array(bytes.dropFirst(8)))
            log.info("continuing an interrupted repair")
            return progress
        } catch {
            log.report("the progress of an interrupted repair cannot be read, starting over: \(error)")
            return nil
        }
    }

    func write(_ progress: RepairProgress, _ file: String, ringEpoch: UInt64) {
        var out = ByteWriter(capacity: 1024)
        out.writeBE(ringEpoch)
        out.write(progress.encode())
        do throws(FileError) {
            if !system.exists(directory) { try system.createDirectory(directory) }
            try system.replace(path(file), with: out.toArray(), directory: directory)
        } catch { log.report("the progress of the repair cannot be saved: \(error)") }
    }

    func remove(_ file: String) {
        guard system.exists(path(file)) else { return }
        do throws(FileError) { try system.remove(path(file)) } catch {
            log.report("the progress of a finished repair cannot be removed: \(error)")
        }
    }
}
