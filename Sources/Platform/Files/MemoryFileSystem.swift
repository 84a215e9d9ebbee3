import Primitives
import Synchronization

/// A file system in memory that tracks what was synced, so that tests can simulate a crash of the machine.
///
/// A crash drops every unsynced byte and every name that `syncDirectory` has not made durable. Some unsynced writes
/// survive, chosen at random, as pages do on a real machine.
///
/// **Thread safety**: all methods, from any thread.
public final class MemoryFileSystem: FileSystem {
    /// A fault hook, called before each operation; a returned reason is thrown.
    public typealias Fault = @Sendable (_ operation: String, _ path: String) -> FileError.Reason?

    final class Content: Sendable {
        struct State {
            var bytes: [UInt8] = []
            var synced: [UInt8] = []
            /// The writes since the last sync, in order.
            var unsynced: [(offset: Int, bytes: [UInt8])] = []
            /// Whether the file has been shortened since the last sync.
            var isShorter = false
        }
        let state = Mutex(State())
    }

    private struct State {
        var names: [String: Content] = [:]
        /// The names that survive a crash.
        var lasting: [String: Content] = [:]
        var directories: Set<String> = []
        var locks: Set<String> = []
        var freeBytes = 1 << 40
    }

    private let state = Mutex(State())
    private let fault: Fault

    public init(fault: @escaping Fault = { _, _ in nil }) { self.fault = fault }

    func check(_ operation: String, _ path: String) throws(FileError) {
        if let reason = fault(operation, path) { throw FileError(operation, path: path, reason: reason) }
    }

    /// Drops what was not synced; each unsynced write survives whole, torn or not at all.
    public func crash(random: inout SeededRandom) {
        state.withLock { state in
            state.names = state.lasting
            state.locks = []
            for content in state.names.values {
                content.state.withLock { file in
                    var bytes = file.synced
                    for write in file.unsynced {
                        let keep: Int
                        switch Int.random(in: 0..<3, using: &random) {
                        case 0: keep = 0
                        case 1: keep = Int.random(in: 0...write.bytes.count, using: &random)
                        default: keep = write.bytes.count
                        }
                        MemoryFileSystem.put(write.bytes[..<keep], at: write.offset, in: &bytes)
                    }
                    file.bytes = bytes
                    file.synced = bytes
                    file.unsynced = []
                    file.isShorter = false
                }
            }
        }
    }

    /// Releases all locks, as when the process ends while the machine keeps running.
    public func releaseLocks() { state.withLock { $0.locks = [] } }

    /// The paths of all files, in no particular order.
    public var paths: [String] { state.withLock { Array($0.names.keys) } }

    /// Flips one bit of a file, including in its synced contents.
    /// - Parameter place: the bit's index, modulo the number of bits in the file.
    /// - Returns: false when the file is missing or empty.
    public func flipBit(_ path: String, at place: UInt64) -> Bool {
        guard let content = state.withLock({ $0.names[path] }) else { return false }
        return content.state.withLock { file in
            guard !file.bytes.isEmpty else { return false }
            let bit = Int(place % UInt64(file.bytes.count * 8))
            file.bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            if bit / 8 < file.synced.count { file.synced[bit / 8] ^= 1 << UInt8(bit % 8) }
            return true
        }
    }

    static func put(_ source: ArraySlice<UInt8>, at offset: Int, in bytes: inout [UInt8]) {
        if source.isEmpty { return }
        if bytes.count < offset + source.count {
            bytes += [UInt8](repeating: 0, count: offset + source.count - bytes.count)
        }
        bytes.replaceSubrange(offset..<offset + source.count, with: source)
    }

    public func open(_ path: String, _ mode: OpenMode) throws(FileError) -> any File {
        try check("open", path)
        let content: Content? = state.withLock { state in
            if let content = state.names[path], mode != .create { return content }
            guard mode != .read else { return nil }
            let content = Content()
            state.names[path] = content
            return content
        }
        guard let content else { throw FileError("open", path: path, reason: .notFound) }
        return MemoryFile(path: path, content: content, system: self)
    }

    public func list(_ directory: String) throws(FileError) -> [String] {
        try check("list", directory)
        let prefix = directory + "/"
        return state.withLock { state in
            var names: Set<String> = []
            for path in Array(state.names.keys) + state.directories where path.hasPrefix(prefix) {
                let rest = path.dropFirst(prefix.count)
                names.insert(String(rest.prefix { $0 != "/" }))
            }
            return Array(names)
        }
    }

    public func exists(_ path: String) -> Bool {
        state.withLock { $0.names[path] != nil || $0.directories.contains(path) }
    }

    public func createDirectory(_ path: String) throws(FileError) {
        try check("create", path)
        state.withLock { state in
            var directory = path[...]
            while !directory.isEmpty {
                state.directories.insert(String(directory))
                guard let slash = directory.lastIndex(of: "/") else { break }
                directory = directory[..<slash]
            }
        }
    }

    public func syncDirectory(_ path: String) throws(FileError) {
        try check("sync", path)
        let prefix = path + "/"
        func isDirectlyIn(_ name: String) -> Bool {
            name.hasPrefix(prefix) && !name.dropFirst(prefix.count).contains("/")
        }
        state.withLock { state in
            for name in state.lasting.keys where isDirectlyIn(name) && state.names[name] == nil {
                state.lasting[name] = nil
            }
            for (name, content) in state.names where isDirectlyIn(name) { state.lasting[name] = content }
        }
    }

    public func rename(_ from: String, to: String) throws(FileError) {
        try check("rename", from)
        let found = state.withLock { state in
            guard let content = state.names.removeValue(forKey: from) else { return false }
            state.names[to] = content
            return true
        }
        if !found { throw FileError("rename", path: from, reason: .notFound) }
    }

    public func remove(_ path: String) throws(FileError) {
        try check("remove", path)
        let found = state.withLock { $0.names.removeValue(forKey: path) != nil }
        if !found { throw FileError("remove", path: path, reason: .notFound) }
    }

    public func removeDirectory(_ path: String) throws(FileError) {
        try check("remove", path)
        let prefix = path + "/"
        let isEmpty = state.withLock { state in
            if state.names.keys.contains(where: { $0.hasPrefix(prefix) })
                || state.directories.contains(where: { $0.hasPrefix(prefix) })
            {
                return false
            }
            state.directories.remove(path)
            return true
        }
        if !isEmpty { throw FileError("remove", path: path, reason: .failed(errno: 39)) }  // ENOTEMPTY
    }

    public func link(_ from: String, to: String) throws(FileError) {
        try check("link", from)
        let found = state.withLock { state in
            guard let content = state.names[from] else { return false }
            state.names[to] = content
            return true
        }
        if !found { throw FileError("link", path: from, reason: .notFound) }
    }

    public func lock(_ path: String) throws(FileError) -> any File {
        let file = try open(path, .readWrite)
        let taken = state.withLock { $0.locks.insert(path).inserted }
        if !taken { throw FileError("lock", path: path, reason: .locked(by: nil)) }
        (file as? MemoryFile)?.holdsLock.store(true, ordering: .relaxed)
        return file
    }

    public func freeSpace(_ path: String) throws(FileError) -> Int { state.withLock { $0.freeBytes } }

    /// Sets the result of `freeSpace`. Writes still succeed.
    public func setFreeSpace(_ bytes: Int) { state.withLock { $0.freeBytes = bytes } }

    fileprivate func unlock(_ path: String) {
        _ = state.withLock { $0.locks.remove(path) }
    }
}

private final class MemoryFile: File {
    let path: String
    let content: MemoryFileSystem.Content
    let system: MemoryFileSystem
    let holdsLock = Atomic<Bool>(false)

    init(path: String, content: MemoryFileSystem.Content, system: MemoryFileSystem) {
        self.path = path
        self.content = content
        self.system = system
    }

    func size() throws(FileError) -> Int { content.state.withLock { $0.bytes.count } }

    func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(FileError) -> Int {
        try system.check("read", path)
        return content.state.withLock { state in
            let count = max(0, min(buffer.count, state.bytes.count - offset))
            if count > 0 {
                state.bytes.withUnsafeBytes {
                    buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[offset..<offset + count]))
                }
            }
            return count
        }
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(FileError) {
        try system.check("write", path)
        let copy = [UInt8](bytes)
        content.state.withLock { state in
            MemoryFileSystem.put(copy[...], at: offset, in: &state.bytes)
            state.unsynced.append((offset, copy))
        }
    }

    func sync() throws(FileError) {
        try system.check("sync", path)
        content.state.withLock { state in
            // Large files are synced often, so copy only the changes.
            if state.isShorter {
                state.synced = state.bytes
                state.isShorter = false
            } else {
                for write in state.unsynced {
                    MemoryFileSystem.put(write.bytes[...], at: write.offset, in: &state.synced)
                }
                let more = state.bytes.count - state.synced.count
                if more > 0 { state.synced += [UInt8](repeating: 0, count: more) }
            }
            state.unsynced = []
        }
    }

    func preallocate(_ count: Int) throws(FileError) {
        try system.check("write", path)
        content.state.withLock { state in
            let more = count - state.bytes.count
            if more > 0 { state.bytes += [UInt8](repeating: 0, count: more) }
        }
    }

    func truncate(to count: Int) throws(FileError) {
        content.state.withLock { state in
            if state.bytes.count > count {
                state.bytes.removeLast(state.bytes.count - count)
                state.isShorter = true
            }
        }
    }

    func forgetCached(from offset: Int, count: Int) {}
    func close() { if holdsLock.exchange(false, ordering: .relaxed) { system.unlock(path) } }
    deinit { close() }
}
