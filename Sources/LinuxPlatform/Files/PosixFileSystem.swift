import CLinux
import Glibc
import Platform

/// The real file system, through POSIX calls.
public struct PosixFileSystem: FileSystem {
    public init() {}

    static func error(_ operation: String, _ path: String, _ number: Int32 = errno) -> FileError {
        let reason: FileError.Reason
        switch number {
        case ENOENT: reason = .notFound
        case EEXIST: reason = .alreadyExists
        case ENOSPC, EDQUOT: reason = .noSpace
        case EACCES, EPERM, EROFS: reason = .permissionDenied
        default: reason = .failed(errno: number)
        }
        return FileError(operation, path: path, reason: reason)
    }

    public func open(_ path: String, _ mode: OpenMode) throws(FileError) -> any File {
        let flags: Int32
        switch mode {
        case .read: flags = O_RDONLY
        case .readWrite: flags = O_RDWR | O_CREAT
        case .create: flags = O_RDWR | O_CREAT | O_TRUNC
        }
        let descriptor = Glibc.open(path, flags | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw PosixFileSystem.error("open", path) }
        return PosixFile(path: path, descriptor: descriptor)
    }

    public func list(_ directory: String) throws(FileError) -> [String] {
        guard let handle = opendir(directory) else { throw PosixFileSystem.error("list", directory) }
        defer { closedir(handle) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = readdir(handle) else {
                // An incomplete list would hide segments and sstables.
                if errno != 0 { throw PosixFileSystem.error("list", directory) }
                break
            }
            // SAFETY: the kernel ends the name with a zero within the 256 bytes of the field.
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names
    }

    public func exists(_ path: String) -> Bool {
        // If existence cannot be determined, return true: the next operation reports the reason.
        access(path, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR)
    }

    public func createDirectory(_ path: String) throws(FileError) {
        let slash = path.lastIndex(of: "/")
        let parent = slash.map { $0 > path.startIndex ? String(path[..<$0]) : "/" } ?? "."
        if mkdir(path, 0o700) == 0 { return try syncDirectory(parent) }
        if errno == EEXIST { return }
        guard errno == ENOENT, slash != nil, parent != "/" else { throw PosixFileSystem.error("create", path) }
        try createDirectory(parent)
        if mkdir(path, 0o700) == 0 { return try syncDirectory(parent) }
        if errno != EEXIST { throw PosixFileSystem.error("create", path) }
    }

    public func syncDirectory(_ path: String) throws(FileError) {
        let descriptor = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw PosixFileSystem.error("sync", path) }
        defer { Glibc.close(descriptor) }
        if fsync(descriptor) != 0 { throw PosixFileSystem.error("sync", path) }
    }

    public func rename(_ from: String, to: String) throws(FileError) {
        if Glibc.rename(from, to) != 0 { throw PosixFileSystem.error("rename", from) }
    }

    public func remove(_ path: String) throws(FileError) {
        if unlink(path) != 0 { throw PosixFileSystem.error("remove", path) }
    }

    public func removeDirectory(_ path: String) throws(FileError) {
        if rmdir(path) != 0 { throw PosixFileSystem.error("remove", path) }
    }

    public func link(_ from: String, to: String) throws(FileError) {
        if Glibc.link(from, to) != 0 { throw PosixFileSystem.error("link", from) }
    }

    public func lock(_ path: String) throws(FileError) -> any File {
        let file = try open(path, .readWrite)
        guard let posix = file as? PosixFile else { return file }
        if flock(posix.descriptor, LOCK_EX | LOCK_NB) != 0 {
            let number = errno
            // The process id is only for the message.
            let holder = (try? readAll(path)).flatMap { Int32(String(decoding: $0, as: UTF8.self).filter(\.isNumber)) }
            file.close()
            guard number == EWOULDBLOCK else { throw PosixFileSystem.error("lock", path, number) }
            throw FileError("lock", path: path, reason: .locked(by: holder))
        }
        try file.truncate(to: 0)
        let pid = Array("\(getpid())\n".utf8)
        try pid.withUnsafeBytes { bytes -> Result<Void, FileError> in
            do throws(FileError) { return .success(try file.write(bytes, at: 0)) } catch { return .failure(error) }
        }.get()
        return file
    }

    public func freeSpace(_ path: String) throws(FileError) -> Int {
        var info = statvfs()
        guard statvfs(path, &info) == 0 else { throw PosixFileSystem.error("examine", path) }
        return Int(info.f_bavail) * Int(info.f_frsize)
    }
}

/// An open file descriptor.
final class PosixFile: File {
    let path: String
    let descriptor: Int32
    private let isOpen = Atomic<Bool>(true)

    init(path: String, descriptor: Int32) {
        self.path = path
        self.descriptor = descriptor
    }

    deinit { close() }

    func size() throws(FileError) -> Int {
        var info = stat()
        guard fstat(descriptor, &info) == 0 else { throw PosixFileSystem.error("examine", path) }
        return Int(info.st_size)
    }

    func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(FileError) -> Int {
        guard Fiber.isRunning else { return try readBlocking(at: offset, into: buffer, from: 0) }
        var done = 0
        while done < buffer.count {
            let start = buffer.baseAddress.unsafelyUnwrapped + done  // count > 0, so there is memory
            let got = auspex_pread_nowait(descriptor, start, buffer.count - done, off_t(offset + done))
            if got == 0 { break }
            if got > 0 {
                done += got
            } else if got == -Int(EOPNOTSUPP) {
                // A file system without RWF_NOWAIT (tmpfs) does not wait for a disk.
                return try readBlocking(at: offset, into: buffer, from: done)
            } else if got == -Int(EAGAIN) {
                return try readOnThread(at: offset, into: buffer, from: done)
            } else if got != -Int(EINTR) {
                throw PosixFileSystem.error("read", path, Int32(-got))
            }
        }
        return done
    }

    /// Reads on a background thread, which may block on the disk, while the fiber waits.
    private func readOnThread(at offset: Int, into buffer: UnsafeMutableRawBufferPointer, from done: Int)
        throws(FileError) -> Int
    {
        try Fiber.blocking(.read) { () throws(FileError) in try readBlocking(at: offset, into: buffer, from: done) }
    }

    private func readBlocking(at offset: Int, into buffer: UnsafeMutableRawBufferPointer, from first: Int)
        throws(FileError) -> Int
    {
        var done = first
        while done < buffer.count {
            let start = buffer.baseAddress.unsafelyUnwrapped + done  // count > 0, so there is memory
            let got = pread(descriptor, start, buffer.count - done, off_t(offset + done))
            if got < 0 {
                if errno == EINTR { continue }
                throw PosixFileSystem.error("read", path)
            }
            if got == 0 { break }
            done += got
        }
        return done
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(FileError) {
        var done = 0
        while done < bytes.count {
            let put = pwrite(
                descriptor, bytes.baseAddress.unsafelyUnwrapped + done, bytes.count - done, off_t(offset + done))
            if put < 0 {
                if errno == EINTR { continue }
                throw PosixFileSystem.error("write", path)
            }
            done += put
        }
    }

    func sync() throws(FileError) {
        if fdatasync(descriptor) != 0 { throw PosixFileSystem.error("sync", path) }
    }

    func preallocate(_ count: Int) throws(FileError) {
        let result = auspex_fallocate(descriptor, 0, off_t(count))
        if result == -EOPNOTSUPP || result == -ENOSYS { return }
        if result != 0 { throw PosixFileSystem.error("preallocate", path, -result) }
    }

    func truncate(to count: Int) throws(FileError) {
        if ftruncate(descriptor, off_t(count)) != 0 { throw PosixFileSystem.error("truncate", path) }
    }

    func forgetCached(from offset: Int, count: Int) {
        posix_fadvise(descriptor, off_t(offset), off_t(count), POSIX_FADV_DONTNEED)
    }

    func close() {
        if isOpen.exchange(false, ordering: .relaxed) { Glibc.close(descriptor) }
    }
}

import Synchronization
