import Platform
import Primitives

/// A machine's file system. The disk may be slow, full or faulty, and the machine may die during any call.
///
/// No call waits: code that holds a lock, or is syncing the commit log, must not yield to other fibers. A slow disk
/// therefore delays the background work that uses it (`delay`).
///
/// SAFETY: `@unchecked Sendable` because it belongs to a world, which one thread runs.
final class SimulatedDisk: FileSystem, @unchecked Sendable {
    /// The current faults of the disk.
    struct Faults {
        /// The probability that a read fails.
        var readErrors = 0.0
        /// The probability that a write or a directory change fails.
        var writeErrors = 0.0
        /// The probability that a sync fails.
        var syncErrors = 0.0
        var isFull = false
        /// The longest wait for the disk before a piece of background work.
        var delayNanoseconds: UInt64 = 0
        /// The probability that a read that must not block would have to.
        var coldReads = 0.0
    }

    var faults = Faults()
    unowned var world: SimulatedWorld!
    /// The machine dies during a call, after this many further calls.
    var death: (operations: Int, die: () -> Void)?
    private(set) var operationCount = 0
    private(set) var errorCount = 0
    private let memory: MemoryFileSystem
    private let gate: Gate
    private var random: Chance

    /// Lets the memory file system, which is created first, call the disk.
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

    /// Called before every operation. Returns the reason why it fails, if it does.
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
            if faults.isFull {
                reason = .noSpace
            } else {
                reason = random.happens(faults.writeErrors) ? .failed(errno: 5) : nil
            }
        default: reason = random.happens(faults.writeErrors) ? .failed(errno: 5) : nil
        }
        if reason != nil { errorCount += 1 }
        return reason
    }

    /// Returns how long a piece of background work waits for the disk.
    func delay(_ random: inout Chance) -> UInt64 {
        faults.delayNanoseconds == 0 ? 0 : random.nanoseconds(0...faults.delayNanoseconds)
    }

    /// Whether a read must wait for the disk.
    func isCold() -> Bool { random.happens(faults.coldReads) }

    /// Loses unsynced data, wholly or in part, as real disks do.
    func losePower() { memory.crash(random: &random.generator) }

    /// Releases the file locks of the dead process.
    func releaseLocks() { memory.releaseLocks() }

    /// Flips a bit of a random file under `directory` whose name ends in `suffix`.
    /// - Returns: the path of the file; nil when there is none.
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

    /// Sorted, so that results do not depend on the order of a hash table.
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
        return try Fiber.blocking(.read) { () throws(FileError) in try file.read(at: offset, into: buffer) }
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
