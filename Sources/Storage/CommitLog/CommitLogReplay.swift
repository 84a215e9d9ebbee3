import DataModel
import Platform
import Primitives

/// The result of a replay.
public struct ReplayReport: Sendable {
    public var segments: [UInt64] = []
    public var chunks = 0
    public var records = 0
    public var bytes = 0
    /// Where a torn tail ended the replay; nil when there was none.
    public var tornAt: LogPosition?
    /// The end of the last segment, when it has no end mark.
    public var end: LogPosition?
    /// Records whose checksum is right but which could not be applied.
    public var rejected: [RejectedRecord] = []
    /// Damage that was skipped because the options allow it: the position and the number of bytes lost.
    public var skipped: [(position: LogPosition, bytes: Int)] = []

    /// Whether a segment holds anything before `end`.
    func keeps(_ segment: UInt64) -> Bool {
        guard let end else { return true }
        return segment < end.segment || (segment == end.segment && end.offset >= CommitLogFormat.headerBytes)
    }
}

/// A record of the commit log that replay set aside.
public struct RejectedRecord: Sendable, Equatable {
    /// The segment's file and the record's place in it.
    public var segment: String
    public var position: LogPosition
    public var bytes: Int
    /// The file that holds the record now.
    public var path: String
    public var reason: String

    /// The record as one log line.
    public var text: String {
        "set aside a record of \(bytes) bytes at byte \(position.offset) of \(segment): \(reason). The replay went on "
            + "without it. Other replicas may have the write: run auspex admin repair, then remove \(path)"
    }
}

/// Reads the commit log at start.
///
/// 1. Segments are read in order, chunk by chunk; each record is passed on with its position.
/// 2. Where there is no valid chunk, the segment ends. After an end mark the replay continues with the next segment;
///    when nothing valid follows anywhere, this is the end of the log.
/// 3. When a valid chunk follows and the segment was written since this boot, the bytes in between are damaged. When
///    the machine was rebooted since, pages may have reached the disk out of order: it is a torn tail unless a later
///    chunk says that this position had been synced.
/// 4. A torn tail ends the replay. Damage fails the start, or is skipped when the options say so.
/// 5. A record that passes its checksum but is not a valid mutation is written to `rejected/` and synced there, and the
///    replay goes on: it would be refused again at every start.
public struct CommitLogReplay {
    private let system: any FileSystem
    private let directory: String
    private let options: CommitLogOptions

    public init(system: any FileSystem, directory: String, options: CommitLogOptions) {
        self.system = system
        self.directory = directory
        self.options = options
    }

    /// Returns the numbers of the existing segments in order; removes files kept for reuse.
    func segments() throws(StorageError) -> [UInt64] {
        do {
            let names = try system.list(directory)
            for name in names where name.hasPrefix("free-") { try system.remove(directory + "/" + name) }
            return names.compactMap { CommitLog.number($0) }.sorted()
        } catch { throw .file(error) }
    }

    /// Passes every record to `apply`, in order. A record for which it throws `badMutation` is set aside.
    /// - Throws: `damaged` when the log is damaged and damage is not skipped; whatever else `apply` throws.
    public func run(_ apply: (LogPosition, UnsafeRawBufferPointer) throws(StorageError) -> Void) throws(StorageError)
        -> ReplayReport
    {
        var report = ReplayReport()
        report.segments = try segments()
        for (index, number) in report.segments.enumerated() {
            if PlantedBugs.isOn(.replaySkipsSegment) && index == 0 && report.segments.count > 1 { continue }
            let path = directory + "/" + CommitLog.name(number)
            let bytes: [UInt8]
            do { bytes = try system.readAll(path) } catch { throw .file(error) }
            let later = Array(report.segments[(index + 1)...])
            let goOn = try bytes.withUnsafeBytesTyped { (raw) throws(StorageError) -> Bool in
                try replaySegment(number, raw, path: path, later: later, report: &report, apply)
            }
            if !goOn { break }
        }
        return report
    }

    /// - Returns: whether the replay continues with the next segment.
    private func replaySegment(
        _ number: UInt64, _ bytes: UnsafeRawBufferPointer, path: String, later: [UInt64], report: inout ReplayReport,
        _ apply: (LogPosition, UnsafeRawBufferPointer) throws(StorageError) -> Void
    ) throws(StorageError) -> Bool {
        guard let header = CommitLogFormat.parseHeader(bytes), header.segment == number else {
            return try replayHeaderless(number, bytes, path: path, later: later, report: &report)
        }
        var at = LogPosition(segment: number, offset: CommitLogFormat.headerBytes)
        while bytes.count - at.offset >= CommitLogFormat.chunkHeaderBytes {
            if let chunk = CommitLogFormat.parseChunkHeader(bytes, at: at) {
                if chunk.isEnd { return true }
                if try replayChunk(chunk, at: at, bytes, path: path, report: &report, apply) {
                    at.offset += chunk.storedCount
                    continue
                }
            }
            let next = try firstGoodChunk(bytes, segment: number, from: at.offset + 8)
            let isDamage = try isDamage(at: at, next: next, boot: header.boot, bytes, later: later)
            if !isDamage {
                if next != nil || !later.isEmpty || !isBlank(bytes, from: at.offset) { report.tornAt = at }
                report.end = at
                return false
            }
            let lost = (next ?? bytes.count) - at.offset
            _ = try damaged(path, at, lost, "a chunk of the log is damaged, and valid data follows it", &report)
            guard let next else { return true }
            at.offset = next
        }
        return true
    }

    /// Handles a segment whose header never reached the disk or is damaged.
    /// - Returns: whether the replay continues with the next segment.
    private func replayHeaderless(
        _ number: UInt64, _ bytes: UnsafeRawBufferPointer, path: String, later: [UInt64], report: inout ReplayReport
    ) throws(StorageError) -> Bool {
        let next = try firstGoodChunk(bytes, segment: number, from: CommitLogFormat.headerBytes)
        // The process ended between creating the segment and writing to it. The segment is removed: once another
        // segment followed, a blank one would look damaged.
        if next == nil && later.isEmpty {
            report.end = LogPosition(segment: number, offset: 0)
            return false
        }
        let at = LogPosition(segment: number, offset: CommitLogFormat.headerBytes)
        if try isDamage(at: at, next: next, boot: try boot(of: later), bytes, later: later) {
            return try damaged(
                path, LogPosition(segment: number, offset: 0), bytes.count, "the segment's header is damaged", &report)
        }
        report.tornAt = LogPosition(segment: number, offset: 0)
        report.end = report.tornAt
        return false
    }

    /// The boot id of the first of these segments that has a valid header.
    private func boot(of segments: [UInt64]) throws(StorageError) -> UInt64? {
        for number in segments {
            let content: [UInt8]
            do { content = try system.readAll(directory + "/" + CommitLog.name(number)) } catch { throw .file(error) }
            if let header = content.withUnsafeBytes({ CommitLogFormat.parseHeader($0) }), header.segment == number {
                return header.boot
            }
        }
        return nil
    }

    /// Writes an end mark where the replay ended and removes everything behind, so that the next replay finds no hole.
    /// Syncs what remains: a killed process may have left it unsynced, and the new log will record all before it as
    /// synced.
    func seal(_ report: ReplayReport) throws(StorageError) {
        do throws(FileError) {
            for number in report.segments {
                let path = directory + "/" + CommitLog.name(number)
                guard report.keeps(number) else {
                    try system.remove(path)
                    continue
                }
                let file = try system.open(path, .readWrite)
                defer { file.close() }
                if let end = report.end, end.segment == number,
                    try file.size() - end.offset >= CommitLogFormat.chunkHeaderBytes
                {
                    try CommitLogFormat.endHeader(at: end).withUnsafeBytesTyped { (bytes) throws(FileError) in
                        try file.write(bytes, at: end.offset)
                    }
                }
                try file.sync()
            }
            try system.syncDirectory(directory)
        } catch { throw .file(error) }
    }

    private func isBlank(_ bytes: UnsafeRawBufferPointer, from offset: Int) -> Bool {
        bytes[offset..<min(bytes.count, offset + CommitLogFormat.chunkHeaderBytes)].allSatisfy { $0 == 0 }
    }

    private func damaged(_ path: String, _ at: LogPosition, _ count: Int, _ what: String, _ report: inout ReplayReport)
        throws(StorageError)
        -> Bool
    {
        guard options.skipDamage else {
            throw .damaged(
                path: path, offset: at.offset,
                "\(what); \(count) bytes of acknowledged writes may be lost. To start without them set commitlog_replay: skip"
            )
        }
        report.skipped.append((at, count))
        return true
    }

    /// - Returns: false when the payload is truncated or its checksum is wrong.
    private func replayChunk(
        _ chunk: CommitLogFormat.ChunkHeader, at: LogPosition, _ bytes: UnsafeRawBufferPointer, path: String,
        report: inout ReplayReport, _ apply: (LogPosition, UnsafeRawBufferPointer) throws(StorageError) -> Void
    ) throws(StorageError) -> Bool {
        let start = at.offset + CommitLogFormat.chunkHeaderBytes
        guard bytes.count - start >= chunk.payloadCount else { return false }
        let payload = UnsafeRawBufferPointer(rebasing: bytes[start..<start + chunk.payloadCount])
        guard Checksum.xxh3(payload) == chunk.payloadChecksum else { return false }
        var reader = ByteReader(payload)
        while !reader.isAtEnd {
            let position = LogPosition(segment: at.segment, offset: start + reader.offset)
            let record: UnsafeRawBufferPointer
            let rest = reader.offset
            do throws(ByteError) { record = try reader.readSlice(Int(try reader.readLE(UInt32.self))) } catch {
                let rest = UnsafeRawBufferPointer(rebasing: payload[rest...])
                try setAside(rest, at: position, of: path, "the rest of a chunk does not parse: \(error)", &report)
                break
            }
            report.records += 1
            report.bytes += record.count
            do throws(StorageError) { try apply(position, record) } catch {
                guard case .badMutation(let why) = error else { throw error }
                try setAside(record, at: position, of: path, why, &report)
            }
        }
        report.chunks += 1
        return true
    }

    private func setAside(
        _ record: UnsafeRawBufferPointer, at position: LogPosition, of segment: String, _ reason: String,
        _ report: inout ReplayReport
    ) throws(StorageError) {
        let rejected = directory + "/" + CommitLogReplay.rejectedName
        let path = rejected + "/\(CommitLog.name(position.segment).dropLast(4))-\(position.offset).record"
        do throws(FileError) {
            if !system.exists(rejected) {
                try system.createDirectory(rejected)
                try system.syncDirectory(directory)
            }
            try system.replace(path, with: [UInt8](record), directory: rejected)
        } catch { throw .file(error) }
        report.rejected.append(
            RejectedRecord(segment: segment, position: position, bytes: record.count, path: path, reason: reason))
    }

    /// The directory of records that were set aside, within that of the log.
    static let rejectedName = "rejected"

    private func isDamage(at: LogPosition, next: Int?, boot: UInt64?, _ bytes: UnsafeRawBufferPointer, later: [UInt64])
        throws(StorageError)
        -> Bool
    {
        let sameRun = boot == options.boot
        if sameRun && next != nil { return true }
        var synced = LogPosition.start
        var offset = next
        while let here = offset {
            guard
                let chunk = CommitLogFormat.parseChunkHeader(bytes, at: LogPosition(segment: at.segment, offset: here))
            else {
                offset = try firstGoodChunk(bytes, segment: at.segment, from: here + 8)
                continue
            }
            synced = max(synced, chunk.synced)
            if chunk.isEnd { break }
            offset = here + chunk.storedCount
            if bytes.count - (offset ?? 0) < CommitLogFormat.chunkHeaderBytes { break }
        }
        for number in later {
            let content: [UInt8]
            do { content = try system.readAll(directory + "/" + CommitLog.name(number)) } catch { throw .file(error) }
            let found = content.withUnsafeBytes { raw -> LogPosition? in
                guard CommitLogFormat.parseHeader(raw)?.segment == number else { return nil }
                var best: LogPosition?
                var here = LogPosition(segment: number, offset: CommitLogFormat.headerBytes)
                while let chunk = CommitLogFormat.parseChunkHeader(raw, at: here), !chunk.isEnd {
                    best = max(best ?? .start, chunk.synced)
                    here.offset += chunk.storedCount
                }
                return best
            }
            if let found {
                if sameRun { return true }
                synced = max(synced, found)
            }
        }
        return synced > at
    }

    /// Returns the offset of the first chunk at or after `from` whose header and payload are valid.
    private func firstGoodChunk(_ bytes: UnsafeRawBufferPointer, segment: UInt64, from: Int) throws(StorageError)
        -> Int?
    {
        var offset = (from + 7) & ~7
        while bytes.count - offset >= CommitLogFormat.chunkHeaderBytes {
            if let chunk = CommitLogFormat.parseChunkHeader(bytes, at: LogPosition(segment: segment, offset: offset)) {
                let start = offset + CommitLogFormat.chunkHeaderBytes
                if chunk.isEnd { return offset }
                if bytes.count - start >= chunk.payloadCount,
                    Checksum.xxh3(UnsafeRawBufferPointer(rebasing: bytes[start..<start + chunk.payloadCount]))
                        == chunk.payloadChecksum
                {
                    return offset
                }
            }
            offset += 8
        }
        return nil
    }
}
