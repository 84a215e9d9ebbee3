import DataModel
import Platform
import Primitives
import Synchronization

/// Options of the commit log.
public struct CommitLogOptions: Sendable {
    /// The size of a segment, in bytes; a mutation may take up to half of it.
    public var segmentBytes = 32 << 20
    /// The total size of all segments above which the oldest tables are flushed, in bytes.
    public var totalBytes = 8 << 30
    /// The number of released segment files kept for reuse.
    public var recycledSegments = 4
    /// Identifies the current boot of the machine: a hole in a log written since this boot is never a torn write.
    public var boot: UInt64 = 0
    /// Whether replay skips damaged parts, losing what they held, instead of failing.
    public var skipDamage = false

    public init() {}
}

/// The commit log: every write is appended to it before it is acknowledged.
///
/// 1. `append` copies a mutation into the pending chunk, in memory, and returns its future position.
/// 2. `flush` passes everything pending to the kernel with one write per segment. It is called at the end of an event
///    loop's tick, before the tick's acknowledgements are sent; when several loops call it, the first call writes for
///    all.
/// 3. `sync` flushes and waits for the disk. Callers that wait at the same time share one sync (group commit).
/// 4. `release` drops the segments that no memtable needs and keeps their files for reuse under new numbers.
///
/// When a write fails (a full disk), the pending data stays pending; appends fail with the reason, and each one retries
/// the write. What is pending then is in memtables already: reads of it are refused (`UnloggedRows`).
///
/// When a sync fails, the kernel may have dropped the data, and a second sync would not report it: the log refuses
/// writes until the server is restarted.
///
/// **Thread safety**: all methods, from any thread. Lock order: `writer`, then `buffer`.
public final class CommitLog: Sendable {
    /// Appended data that is not written yet.
    struct Buffer: ~Copyable {
        var pending = ByteWriter(capacity: 256 << 10)
        var chunks: [Chunk] = []
        var isOpen = false
        /// The position of the next chunk or record.
        var position: LogPosition
        var failure: FileError?
        /// Bytes appended since the start.
        var appended: UInt64 = 0
    }

    struct Chunk {
        var position: LogPosition
        var start: Int
        var end: Int
        var recordCount: UInt32
        var isEnd: Bool
    }

    /// The segment files, and the data being written to them.
    struct Writer: ~Copyable {
        var out = ByteWriter(capacity: 256 << 10)
        var chunks: [Chunk] = []
        var file: (any File)?
        var segment: UInt64 = 0
        /// Files with unsynced writes, oldest first, without the current one.
        var unsynced: [any File] = []
        var segments: [UInt64] = []
        var recycled: [String] = []
        var written: LogPosition
        var synced: LogPosition
        var writtenBytes: UInt64 = 0
        /// Why a sync failed; nothing is written after that.
        var syncFailure: FileError?
    }

    private let system: any FileSystem
    public let directory: String
    public let options: CommitLogOptions
    private let buffer: Mutex<Buffer>
    private let writer: Mutex<Writer>
    private let isFailing = Atomic<Bool>(false)
    private let unlogged: UnloggedRows
    private let syncTurn = SharedTurn()
    /// Everything before this position is on disk.
    private let durable = Mutex<LogPosition>(.start)
    public let syncCount = Atomic<Int>(0)
    public let writeCount = Atomic<Int>(0)

    /// Opens the log for writing in a new segment. `CommitLogReplay` must have read the existing segments before.
    /// - Parameters:
    ///   - existing: the segments that memtables may still need.
    ///   - after: the new segment gets a higher number. Manifests may name this segment as flushed even when its file
    ///     is gone: a new segment with its number would be skipped by the next replay.
    ///   - unlogged: where rows are noted that could not be written.
    init(
        system: any FileSystem, directory: String, options: CommitLogOptions, existing: [UInt64], after: UInt64 = 0,
        unlogged: UnloggedRows = UnloggedRows()
    ) throws(StorageError) {
        self.unlogged = unlogged
        self.system = system
        self.directory = directory
        self.options = options
        let first = LogPosition(segment: max(existing.max() ?? 0, after) + 1, offset: CommitLogFormat.headerBytes)
        buffer = Mutex(Buffer(position: first))
        var writer = Writer(written: first, synced: first)
        writer.segments = existing.sorted()
        self.writer = Mutex(writer)
        do {
            try self.writer.withLockTyped { (writer) throws(FileError) in try self.openSegment(first.segment, &writer) }
        } catch { throw .file(error) }
    }

    static func name(_ segment: UInt64) -> String {
        let digits = String(segment, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits + ".log"
    }

    static func number(_ name: String) -> UInt64? {
        guard name.hasSuffix(".log"), name.utf8.count == 20, let number = UInt64(name.dropLast(4), radix: 16),
            number <= LogPosition.largestSegment
        else { return nil }
        return number
    }

    /// The position of the next append; no later append gets a lower position.
    public var position: LogPosition { buffer.withLock { $0.position } }

    /// Bytes appended since the start.
    public var appendedBytes: UInt64 { buffer.withLock { $0.appended } }

    /// Whether any written data is not known to be on disk.
    public var hasUnsynced: Bool { writer.withLock { $0.written > $0.synced } }

    /// The segments on disk, oldest first, including the current one.
    public var segments: [UInt64] { writer.withLock { $0.segments } }

    /// Bytes of all segments.
    public var totalBytes: Int { segments.count * options.segmentBytes }

    /// The maximum size of one append, in bytes.
    public var largestAppend: Int { options.segmentBytes / 2 }

    /// Appends mutations as one unit that is replayed whole or not at all. In memory only; `flush` writes.
    /// - Returns: the position of the record.
    /// - Throws: `badMutation` beyond `largestAppend` bytes; `file` while earlier data cannot be written.
    @inline(__always) @discardableResult public func append(_ mutations: UnsafeRawBufferPointer) throws(StorageError)
        -> LogPosition
    {
        guard mutations.count <= largestAppend else {
            throw .badMutation(
                "Mutation of \(mutations.count) bytes is too large for the maximum size of \(largestAppend)")
        }
        let (position, isRefused) = buffer.withLock { buffer in
            let position = self.add(mutations, to: &buffer)
            let isRefused = buffer.failure != nil
            // The rows are in memtables: the log must write them once it can, and until then nobody may read them.
            if isRefused && !self.forgetsRefused { self.unlogged.add(mutations) }
            return (position, isRefused)
        }
        if isRefused { try flush() }
        return position
    }

    /// Throws while earlier data cannot be written, after one more attempt.
    @inline(__always) public func checkWritable() throws(StorageError) {
        if isFailing.load(ordering: .relaxed) { try flush() }
    }

    @inline(__always) private func add(_ bytes: UnsafeRawBufferPointer, to buffer: inout Buffer) -> LogPosition {
        let headers = CommitLogFormat.chunkHeaderBytes * 2 + 16
        if options.segmentBytes - buffer.position.offset < bytes.count + headers { CommitLog.roll(&buffer) }
        if !buffer.isOpen {
            buffer.isOpen = true
            buffer.chunks.append(
                Chunk(position: buffer.position, start: buffer.pending.count, end: 0, recordCount: 0, isEnd: false))
            buffer.pending.writeZeros(CommitLogFormat.chunkHeaderBytes)
            buffer.position.offset += CommitLogFormat.chunkHeaderBytes
        }
        let at = buffer.position
        buffer.pending.writeLE(UInt32(bytes.count))
        buffer.pending.write(bytes)
        buffer.position.offset += 4 + bytes.count
        buffer.chunks[buffer.chunks.count - 1].recordCount += 1
        buffer.appended += UInt64(bytes.count)
        return at
    }

    private static func close(_ buffer: inout Buffer) {
        guard buffer.isOpen else { return }
        buffer.isOpen = false
        buffer.chunks[buffer.chunks.count - 1].end = buffer.pending.count
        let padding = (8 - buffer.pending.count % 8) % 8
        buffer.pending.writeZeros(padding)
        buffer.position.offset = (buffer.position.offset + 7) & ~7
    }

    private static func roll(_ buffer: inout Buffer) {
        close(&buffer)
        buffer.chunks.append(
            Chunk(
                position: buffer.position, start: buffer.pending.count, end: buffer.pending.count, recordCount: 0,
                isEnd: true))
        buffer.pending.writeZeros(CommitLogFormat.chunkHeaderBytes)
        buffer.position = LogPosition(segment: buffer.position.segment + 1, offset: CommitLogFormat.headerBytes)
    }

    /// Passes everything appended to the kernel, so that it survives the end of the process.
    /// - Throws: `file` when the write fails; the next flush retries the same data.
    public func flush() throws(StorageError) {
        do { try writer.withLockTyped { (writer) throws(FileError) in try self.write(&writer) } } catch {
            throw convert(error)
        }
    }

    private func convert(_ error: FileError) -> StorageError {
        guard error.operation == CommitLog.syncFailed else { return .file(error) }
        return .stopped(
            "the commit log refuses writes because syncing \(error.path) failed: data written since the last sync may be lost "
                + "in a power failure. Check the disk and restart the server")
    }

    private static let syncFailed = "sync the commit log in"

    /// Writes the remains of a failed write first, then the newly appended data: the caller may be about to acknowledge
    /// both.
    private func write(_ writer: inout Writer) throws(FileError) {
        if let failure = writer.syncFailure { throw failure }
        if !writer.chunks.isEmpty { try writeChunks(&writer) }
        buffer.withLock { buffer in
            guard !buffer.chunks.isEmpty else { return }
            CommitLog.close(&buffer)
            swap(&buffer.pending, &writer.out)
            swap(&buffer.chunks, &writer.chunks)
            buffer.pending.removeAll()
            buffer.chunks.removeAll(keepingCapacity: true)
        }
        if !writer.chunks.isEmpty { try writeChunks(&writer) }
        if isFailing.load(ordering: .relaxed) {
            isFailing.store(false, ordering: .relaxed)
            buffer.withLock { buffer in
                buffer.failure = nil
                unlogged.removeAll()
            }
        }
    }

    private func writeChunks(_ writer: inout Writer) throws(FileError) {
        do throws(FileError) {
            while let chunk = writer.chunks.first {
                if chunk.position.segment != writer.segment { try openSegment(chunk.position.segment, &writer) }
                try writeChunk(chunk, &writer)
                writer.chunks.removeFirst()
            }
        } catch {
            refuse(error) {
                for chunk in writer.chunks { noteRows(of: chunk, end: chunk.end, in: writer.out.bytes) }
            }
            throw error
        }
        writer.out.removeAll()
        // Give the memory of a burst back.
        if writer.out.capacityBytes > 4 << 20 { writer.out = ByteWriter(capacity: 256 << 10) }
    }

    /// Makes appends fail until a write succeeds.
    /// - Parameter noteRows: called when the failure begins, to note what the writer could not write.
    private func refuse(_ error: FileError, noteRows: () -> Void = {}) {
        buffer.withLock { buffer in
            defer { buffer.failure = error }
            // What is appended from now on is noted by `append`.
            if buffer.failure != nil { return }
            unlogged.begin()
            if self.forgetsRefused { return }
            noteRows()
            for (index, chunk) in buffer.chunks.enumerated() {
                let isOpen = buffer.isOpen && index == buffer.chunks.count - 1
                self.noteRows(of: chunk, end: isOpen ? buffer.pending.count : chunk.end, in: buffer.pending.bytes)
            }
        }
        isFailing.store(true, ordering: .relaxed)
    }

    /// A planted bug: rows that were refused are read.
    private var forgetsRefused: Bool { PlantedBugs.isOn(.refusedWriteSeen) || PlantedBugs.isOn(.refusedWriteDecides) }

    /// Notes the rows of a chunk that was not written.
    private func noteRows(of chunk: Chunk, end: Int, in bytes: UnsafeRawBufferPointer) {
        let start = chunk.start + CommitLogFormat.chunkHeaderBytes
        var reader = ByteReader(UnsafeRawBufferPointer(rebasing: bytes[min(start, end)..<end]))
        do throws(ByteError) {
            for _ in 0..<chunk.recordCount {
                let count: UInt32 = try reader.readLE()
                unlogged.add(try reader.readSlice(Int(count)))
            }
        } catch { preconditionFailure("the log's own records do not parse: \(error)") }
    }

    private func writeChunk(_ chunk: Chunk, _ writer: inout Writer) throws(FileError) {
        let header = chunk.start
        let payload = UnsafeRawBufferPointer(
            rebasing: writer.out.bytes[
                (header + CommitLogFormat.chunkHeaderBytes)..<max(chunk.end, header + CommitLogFormat.chunkHeaderBytes)]
        )
        let checksum = Checksum.xxh3(payload)
        let count = payload.count
        writer.out.patchLE(chunk.isEnd ? CommitLogFormat.endMark : UInt32(count), at: header)
        writer.out.patchLE(chunk.recordCount, at: header + 4)
        writer.out.patchLE(writer.synced.segment, at: header + 8)
        writer.out.patchLE(UInt64(writer.synced.offset), at: header + 16)
        writer.out.patchLE(checksum, at: header + 24)
        let seed = CommitLogFormat.headerSeed(chunk.position)
        let headerChecksum = Checksum.xxh3(
            UnsafeRawBufferPointer(rebasing: writer.out.bytes[header..<header + 32]), seed: seed)
        writer.out.patchLE(headerChecksum, at: header + 32)
        let stored = CommitLogFormat.chunkHeaderBytes + (count + 7) & ~7
        guard let file = writer.file else { throw FileError("write", path: directory, reason: .notFound) }
        try file.write(
            UnsafeRawBufferPointer(rebasing: writer.out.bytes[header..<header + stored]), at: chunk.position.offset)
        writer.written = LogPosition(segment: chunk.position.segment, offset: chunk.position.offset + stored)
        writer.writtenBytes += UInt64(stored)
        writeCount.add(1, ordering: .relaxed)
    }

    /// Opens segment `number` as the current one, in a recycled file or a new one.
    private func openSegment(_ number: UInt64, _ writer: inout Writer) throws(FileError) {
        let path = directory + "/" + CommitLog.name(number)
        if let old = writer.recycled.popLast() { try system.rename(old, to: path) }
        let file = try system.open(path, .readWrite)
        do throws(FileError) {
            try file.preallocate(options.segmentBytes)
            // Sync the rename before writing: after a crash a recycled file must not have its old name and a new
            // header.
            try system.syncDirectory(directory)
            let header = CommitLogFormat.header(segment: number, boot: options.boot)
            try header.withUnsafeBytesTyped { (bytes) throws(FileError) in try file.write(bytes, at: 0) }
        } catch {
            file.close()
            do { try system.remove(path) } catch {}  // replay ignores an empty segment
            throw error
        }
        if let last = writer.file { writer.unsynced.append(last) }
        writer.file = file
        writer.segment = number
        writer.segments.append(number)
    }

    /// Flushes, and returns once all of it is on disk. Overlapping calls share one sync.
    public func sync() throws(StorageError) {
        let wanted = position
        guard syncTurn.take(unless: { durable.withLock { $0 } >= wanted }) else { return }
        defer { syncTurn.leave() }
        do throws(FileError) {
            let (files, written) = try writer.withLockTyped { (writer) throws(FileError) -> ([any File], LogPosition) in
                try self.write(&writer)
                return (writer.unsynced + (writer.file.map { [$0] } ?? []), writer.written)
            }
            for file in files {
                do throws(FileError) { try file.sync() } catch {
                    let failure = FileError(CommitLog.syncFailed, path: directory, reason: error.reason)
                    writer.withLock { $0.syncFailure = failure }
                    refuse(failure)
                    throw failure
                }
            }
            syncCount.add(1, ordering: .relaxed)
            writer.withLock { writer in
                let synced = files.dropLast()
                writer.unsynced.removeAll { file in synced.contains { $0 === file } }
                for file in synced { file.close() }
                if written > writer.synced { writer.synced = written }
            }
            durable.withLock { $0 = max($0, written) }
        } catch { throw convert(error) }
    }

    /// Drops the segments wholly before `position`; their files are kept for reuse or removed.
    public func release(before position: LogPosition) {
        writer.withLock { writer in
            while let oldest = writer.segments.first, oldest < position.segment, oldest != writer.segment {
                writer.segments.removeFirst()
                let path = directory + "/" + CommitLog.name(oldest)
                if writer.recycled.count < options.recycledSegments {
                    let free = directory + "/" + "free-" + CommitLog.name(oldest)
                    do {
                        try system.rename(path, to: free)
                        writer.recycled.append(free)
                        continue
                    } catch {}  // remove it instead
                }
                do { try system.remove(path) } catch {}  // an extra segment is harmless: replay skips flushed records
            }
        }
    }

    /// Why the log refuses writes; nil when healthy.
    public var failure: String? {
        guard isFailing.load(ordering: .relaxed) else { return nil }
        if let stopped = writer.withLock({ $0.syncFailure }) { return convert(stopped).description }
        return buffer.withLock { $0.failure }.map { "writes are refused: \($0)" }
    }

    /// Flushes, syncs and closes the log.
    public func close() throws(StorageError) {
        // Write an end mark: a recycled file may hold old data behind it.
        buffer.withLock { CommitLog.roll(&$0) }
        try sync()
        // Wait for a running sync of the file.
        guard syncTurn.take(unless: { false }) else { return }
        defer { syncTurn.leave() }
        writer.withLock { writer in
            writer.file?.close()
            writer.file = nil
        }
    }
}

extension Mutex where Value: ~Copyable {
    /// `withLock` that preserves the error's type.
    @inline(__always) func withLockTyped<R, E: Error>(_ body: (inout sending Value) throws(E) -> sending R) throws(E)
        -> sending R
    {
        let outcome: Result<R, E> = withLock { value in
            do throws(E) { return .success(try body(&value)) } catch { return .failure(error) }
        }
        return try outcome.get()
    }
}
