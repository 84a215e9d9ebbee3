import Glibc

/// A file, a decompressing child process, or standard input, read sequentially.
struct InputFile: ~Copyable, Sendable {
    let path: String
    /// The size on disk in bytes; nil when unknown.
    let size: Int?
    /// The modification time in nanoseconds, used to recognize the file.
    let modified: Int
    private let descriptor: Int32
    /// The compressed file that the child reads. Both processes share its offset, which shows the progress.
    private let compressed: Int32?
    private var child: pid_t?
    private let program: String

    private static var lastError: String {
        guard let text = strerror(errno) else { return "error \(errno)" }
        return String(cString: text)
    }

    /// Returns the program that decompresses a file of this name; nil when the file is not compressed.
    static func decompressor(_ path: String) -> String? {
        path.hasSuffix(".gz")
            ? "gzip"
            : path.hasSuffix(".xz") ? "xz" : path.hasSuffix(".zst") ? "zstd" : path.hasSuffix(".bz2") ? "bzip2" : nil
    }

    init(_ path: String) throws(LoadError) {
        let opened = try InputFile.open(path)
        self.path = path
        program = opened.program
        size = opened.size
        modified = opened.modified
        descriptor = opened.descriptor
        compressed = opened.compressed
        child = opened.child
    }

    private struct Opened {
        var program = ""
        var size: Int?
        var modified = 0
        var descriptor: Int32 = 0
        var compressed: Int32?
        var child: pid_t?
    }

    private static func open(_ path: String) throws(LoadError) -> Opened {
        var opened = Opened()
        if path == "-" { return opened }
        let file = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw .input("cannot open \(path): \(lastError)") }
        var status = stat()
        guard fstat(file, &status) == 0, status.st_mode & S_IFMT != S_IFDIR else {
            close(file)
            throw .input("cannot load \(path): it is a directory")
        }
        if status.st_mode & S_IFMT == S_IFREG { opened.size = Int(status.st_size) }
        opened.modified = Int(status.st_mtim.tv_sec) * 1_000_000_000 + Int(status.st_mtim.tv_nsec)
        guard let program = decompressor(path) else {
            posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL)
            opened.descriptor = file
            return opened
        }
        opened.program = program
        opened.compressed = file
        do throws(LoadError) {
            (opened.descriptor, opened.child) = try spawn(program, input: file, path: path)
        } catch {
            close(file)
            throw error
        }
        return opened
    }

    deinit {
        if descriptor != 0 { close(descriptor) }
        if let compressed { close(compressed) }
        if let child {
            var status: Int32 = 0
            waitpid(child, &status, 0)
        }
    }

    /// Starts `program -dc` with `input` as standard input. Returns a descriptor for its output, and its process id.
    private static func spawn(_ program: String, input: Int32, path: String) throws(LoadError) -> (Int32, pid_t) {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw .input("cannot read \(path): \(lastError)") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, input, 0)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        var arguments = [strdup(program), strdup("-dc"), nil]
        defer { for argument in arguments { free(argument) } }
        var child = pid_t()
        let status = posix_spawnp(&child, program, &actions, nil, &arguments, environ)
        close(ends[1])
        guard status == 0 else {
            close(ends[0])
            throw .input(
                "cannot decompress \(path): \(program) does not start (\(String(cString: strerror(status)))); install it"
            )
        }
        return (ends[0], child)
    }

    /// Appends up to `limit` bytes to `buffer` and returns their number; 0 at the end.
    /// - Throws: `LoadError` when reading fails, or when the decompressor reports a damaged file.
    mutating func read(into buffer: inout [UInt8], limit: Int) throws(LoadError) -> Int {
        let descriptor = descriptor
        var failure: Int32 = 0
        let chunk = [UInt8](unsafeUninitializedCapacity: limit) { room, count in
            var got = Glibc.read(descriptor, room.baseAddress, limit)
            while got < 0 && errno == EINTR { got = Glibc.read(descriptor, room.baseAddress, limit) }
            if got < 0 { failure = errno }
            count = max(0, got)
        }
        if failure != 0 { throw .input("cannot read \(path): \(String(cString: strerror(failure)))") }
        if chunk.isEmpty { try finishChild() }
        if buffer.isEmpty { buffer = chunk } else { buffer += chunk }
        return chunk.count
    }

    /// Checks the decompressor's exit status at the end of its output.
    private mutating func finishChild() throws(LoadError) {
        guard let running = child else { return }
        child = nil
        var status: Int32 = 0
        guard waitpid(running, &status, 0) == running, status == 0 else {
            throw .input(
                "\(path) is damaged or not in the format of its suffix: \(program) failed; the records before the damage were loaded"
            )
        }
    }

    /// Sets the read position of an uncompressed regular file; returns false for any other input.
    func seek(_ offset: Int) -> Bool {
        compressed == nil && descriptor != 0 && lseek(descriptor, offset, SEEK_SET) == offset
    }

    /// The number of bytes of the file on disk that have been read; nil when unknown.
    var position: Int? {
        guard size != nil else { return nil }
        let offset = lseek(compressed ?? descriptor, 0, SEEK_CUR)
        return offset < 0 ? nil : offset
    }
}
