import Platform
import Primitives

/// A machine's file system, whose disk may be slow, full, failing or wrong, and whose machine may die at any call.
///
/// No call waits: code that holds a lock, or the turn to sync the commit log, must never hand its turn back. A slow disk therefore delays the background
/// work that uses it (`delay`).
///
/// SAFETY: `@unchecked Sendable` because it belongs to a world, which one thread runs.
final class SimulatedDisk: FileSystem, @unchecked Sendable {
    /// What the disk does wrong at the moment.
    struct Faults {
        /// Chance that a read fails.
        var readErrors = 0.0
        /// Chance that a write, or a change of a directory, fails.
        var writeErrors = 0.0
        /// Chance that a sync fails.
        var syncErrors = 0.0
        var isFull = false
        /// What a piece of background work waits for the disk, at most.
        var delayNanoseconds: UInt64 = 0
        /// Chance that a fiber's read has to wait for the disk.
        var coldReads = 0.0
    }

    var faults = Faults()
    unowned var world: SimulatedWorld!
    /// Called when the machine dies within a call, after this many.
    var death: (operations: Int, die: () -> Void)?
    private(set) var operationCount = 0
    private(set) var errorCount = 0
    private let memory: MemoryFileSystem
    private let gate: Gate
    private var random: Chance

    /// Lets the memory file system ask the disk that is made after it.
    private final class Gate: @unchecked Sendable {
        // SAFETY: touched by the world's thread.
        weak var disk: SimulatedDisk?
    }

    init(seed: UInt64) {
        let gate = Gate()
        self.gate = gate
        random = Chance(seed: seed)
        memory = MemoryFileSystem { operation, path in gate.disk?.fault(operation, path) }
        gate.disk = self
    }

    // MARK: Faults

    /// Asked before every operation.
    private func fault(_ operation: String, _ path: String) -> FileError.Reason? {
        operationCount += 1
        world.abandonIfDead()
        if let (operations, die) = death {
            if operations <= 0 {
                death = nil
                die()
                world.abandonIfDead()
            } else {
                death = (operations - 1, die)
            }
        }
        let reason: FileError.Reason?
        switch operation {
        case "read": reason = random.happens(faults.readErrors) ? .failed(errno: 5) : nil
        case "open", "list": reason = random.happens(faults.readErrors) ? .failed(errno: 5) : nil
        case "sync": reason = random.happens(faults.syncErrors) ? .failed(errno: 5) : nil
        case "write", "create":
            if faults.isFull { reason = .noSpace } else { reason = random.happens(faults.writeErrors) ? .failed(errno: 5) : nil }
        default: reason = random.happens(faults.writeErrors) ? .failed(errno: 5) : nil
        }
        if reason != nil { errorCount += 1 }
        return reason
    }

    /// What background work waits for the disk.
    func delay(_ random: inout Chance) -> UInt64 {
        faults.delayNanoseconds == 0 ? 0 : random.nanoseconds(0...faults.delayNanoseconds)
    }

    /// Whether a read must wait for the disk.
    func isCold() -> Bool { random.happens(faults.coldReads) }

    /// Forgets what was not synced, in part, as disks do.
    func losePower() { memory.crash(random: &random.generator) }

    /// The process that held them is gone.
    func releaseLocks() { memory.releaseLocks() }

    /// Turns a bit of a file under `directory` whose name ends so.
    /// - Returns: which file; nil when there is none.
    func rot(under directory: String, suffix: String) -> String? {
        let paths = memory.paths.filter { $0.hasPrefix(directory + "/") && $0.hasSuffix(suffix) }.sorted()
        guard !paths.isEmpty else { return nil }
        let path = random.pick(paths)
        return memory.flipBit(path, at: random.next()) ? path : nil
    }

    // MARK: Files

    func open(_ path: String, _ mode: OpenMode) throws(FileError) -> any File {
        if mode != .read, faults.isFull, !memory.exists(path) {
            errorCount += 1
            throw FileError("open", path: path, reason: .noSpace)
        }
        return DiskFile(try memory.open(path, mode), disk: self)
    }

    /// Sorted, so that nothing depends on how a table of hashes is laid out.
    func list(_ directory: String) throws(FileError) -> [String] { try memory.list(directory).sorted() }
    func exists(_ path: String) -> Bool { memory.exists(path) }
    func createDirectory(_ path: String) throws(FileError) { try memory.createDirectory(path) }
    func rename(_ from: String, to: String) throws(FileError) { try memory.rename(from, to: to) }
    func remove(_ path: String) throws(FileError) { try memory.remove(path) }
    func removeDirectory(_ path: String) throws(FileError) { try memory.removeDirectory(path) }
    func link(_ from: String, to: String) throws(FileError) { try memory.link(from, to: to) }
    func lock(_ path: String) throws(FileError) -> any File { try memory.lock(path) }
    func freeSpace(_ path: String) throws(FileError) -> Int { faults.isFull ? 0 : try memory.freeSpace(path) }

    func syncDirectory(_ path: String) throws(FileError) {
        if PlantedBugs.isOn(.diskForgetsSyncs) { return }
        try memory.syncDirectory(path)
    }
}

/// An open file of a simulated disk.
private final class DiskFile: File {
    private let file: any File
    private let disk: SimulatedDisk

    init(_ file: any File, disk: SimulatedDisk) {
        self.file = file
        self.disk = disk
    }

    var path: String { file.path }
    func size() throws(FileError) -> Int { try file.size() }

    func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(FileError) -> Int {
        guard Fiber.isRunning, disk.isCold() else { return try file.read(at: offset, into: buffer) }
        var outcome: Result<Int, FileError> = .success(0)
        Fiber.blocking(.read) {
            do throws(FileError) { outcome = .success(try file.read(at: offset, into: buffer)) } catch { outcome = .failure(error) }
        }
        return try outcome.get()
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(FileError) { try file.write(bytes, at: offset) }

    func sync() throws(FileError) {
        if PlantedBugs.isOn(.diskForgetsSyncs) { return }
        try file.sync()
    }

    func preallocate(_ count: Int) throws(FileError) { try file.preallocate(count) }
    func truncate(to count: Int) throws(FileError) { try file.truncate(to: count) }
    func forgetCached(from offset: Int, count: Int) { file.forgetCached(from: offset, count: count) }
    func close() { file.close() }
}
