/// How a file is opened.
public enum OpenMode: Sendable {
    case read
    /// Reads and writes; made when missing, kept when there.
    case readWrite
    /// Reads and writes; made anew, empty.
    case create
}

/// An open file.
///
/// **Thread safety**: reads from any thread; writes from one at a time.
public protocol File: AnyObject, Sendable {
    var path: String { get }
    /// Bytes in the file.
    func size() throws(FileError) -> Int
    /// Fills `buffer` from `offset`; fewer bytes only at the end of the file. Where the disk has to be waited for, a fiber waits and its thread goes on.
    func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(FileError) -> Int
    /// Writes all of `bytes` at `offset`.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(FileError)
    /// Returns when what was written is on the disk (fdatasync).
    func sync() throws(FileError)
    /// Sets aside room, so that later writes neither grow the file nor run out of space.
    func preallocate(_ count: Int) throws(FileError)
    func truncate(to count: Int) throws(FileError)
    /// Tells the system that the file's pages are not needed soon.
    func forgetCached(from offset: Int, count: Int)
    func close()
}

/// Files and directories. Paths are absolute, or relative to where the process started.
public protocol FileSystem: Sendable {
    func open(_ path: String, _ mode: OpenMode) throws(FileError) -> any File
    /// Names in a directory, in no order.
    func list(_ directory: String) throws(FileError) -> [String]
    func exists(_ path: String) -> Bool
    /// Makes a directory and those above it, for the owner only, so that they last when it returns.
    func createDirectory(_ path: String) throws(FileError)
    /// Makes what was created, renamed or removed in a directory last.
    func syncDirectory(_ path: String) throws(FileError)
    /// Replaces `to` in one step.
    func rename(_ from: String, to: String) throws(FileError)
    func remove(_ path: String) throws(FileError)
    /// Removes an empty directory.
    func removeDirectory(_ path: String) throws(FileError)
    /// A second name for the same file: what a snapshot is made of.
    func link(_ from: String, to: String) throws(FileError)
    /// Holds a lock on a file until `close`; `locked` when another process holds it.
    func lock(_ path: String) throws(FileError) -> any File
    /// Bytes free for this user on the file system of `path`.
    func freeSpace(_ path: String) throws(FileError) -> Int
}

extension FileSystem {
    /// The whole of a file.
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

    /// Replaces a file so that after a crash it holds either what it held or all of `bytes`.
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
