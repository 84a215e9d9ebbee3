/// The mode in which a file is opened.
public enum OpenMode: Sendable {
    case read
    /// Reads and writes; creates the file if it does not exist.
    case readWrite
    /// Reads and writes; creates the file, or empties an existing one.
    case create
}

/// An open file.
///
/// **Thread safety**: reads from any thread; writes from one thread at a time.
public protocol File: AnyObject, Sendable {
    var path: String { get }
    /// The size of the file in bytes.
    func size() throws(FileError) -> Int
    /// Fills `buffer` from `offset`; reads fewer bytes only at the end of the file. If the disk must be waited for, the
    /// calling fiber waits without blocking its thread.
    func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(FileError) -> Int
    /// Writes all of `bytes` at `offset`.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(FileError)
    /// Returns when all written data is on the disk (fdatasync).
    func sync() throws(FileError)
    /// Reserves disk space, so that later writes neither grow the file nor run out of space.
    func preallocate(_ count: Int) throws(FileError)
    func truncate(to count: Int) throws(FileError)
    /// Tells the kernel that it may drop the file's cached pages.
    func forgetCached(from offset: Int, count: Int)
    func close()
}

/// Files and directories. Paths are absolute or relative to the working directory.
public protocol FileSystem: Sendable {
    func open(_ path: String, _ mode: OpenMode) throws(FileError) -> any File
    /// The names in a directory, in no particular order.
    func list(_ directory: String) throws(FileError) -> [String]
    func exists(_ path: String) -> Bool
    /// Creates a directory and its parents, accessible to the owner only. They are durable when it returns.
    func createDirectory(_ path: String) throws(FileError)
    /// Makes the creations, renames and removals in a directory durable.
    func syncDirectory(_ path: String) throws(FileError)
    /// Renames a file and atomically replaces `to`.
    func rename(_ from: String, to: String) throws(FileError)
    func remove(_ path: String) throws(FileError)
    /// Removes an empty directory.
    func removeDirectory(_ path: String) throws(FileError)
    /// Creates a hard link, as snapshots do.
    func link(_ from: String, to: String) throws(FileError)
    /// Locks a file until `close`. Throws `locked` when another process holds the lock.
    func lock(_ path: String) throws(FileError) -> any File
    /// The free bytes for this user on the file system of `path`.
    func freeSpace(_ path: String) throws(FileError) -> Int
}

extension FileSystem {
    /// Reads a whole file.
    public func readAll(_ path: String) throws(FileError) -> [UInt8] {
        let file = try open(path, .read)
        defer { file.close() }
        let size = try file.size()
        var bytes = [UInt8](repeating: 0, count: size)
        let got = try bytes.withUnsafeMutableBytesTyped { (buffer) throws(FileError) -> Int in
            try file.read(at: 0, into: buffer)
        }
        bytes.removeLast(size - got)
        return bytes
    }

    /// Replaces a file so that after a crash it has either its old contents or all of `bytes`.
    public func replace(_ path: String, with bytes: [UInt8], directory: String) throws(FileError) {
        let temporary = path + ".tmp"
        let file = try open(temporary, .create)
        do throws(FileError) {
            try bytes.withUnsafeBytesOfFile { (buffer) throws(FileError) in try file.write(buffer, at: 0) }
            try file.sync()
        } catch {
            file.close()
            throw error
        }
        file.close()
        try rename(temporary, to: path)
        try syncDirectory(directory)
    }
}

extension Array where Element == UInt8 {
    func withUnsafeBytesOfFile(_ body: (UnsafeRawBufferPointer) throws(FileError) -> Void) throws(FileError) {
        let outcome: Result<Void, FileError> = withUnsafeBytes { bytes in
            do throws(FileError) { return .success(try body(bytes)) } catch { return .failure(error) }
        }
        try outcome.get()
    }

    mutating func withUnsafeMutableBytesTyped<R>(
        _ body: (UnsafeMutableRawBufferPointer) throws(FileError) -> R
    ) throws(FileError) -> R {
        let outcome: Result<R, FileError> = withUnsafeMutableBytes { bytes in
            do throws(FileError) { return .success(try body(bytes)) } catch { return .failure(error) }
        }
        return try outcome.get()
    }
}
