import Platform
import Primitives

/// Reads one segment from front to back, trusting nothing in it.
///
/// 1. A record is valid when the checksums of its header and of its mutations match.
/// 2. Where there is no valid record and no valid header follows, the segment ends: the last write was torn.
/// 3. Where a valid header follows, bytes were damaged. When the damaged record's own header is valid, only that record
///    is skipped; otherwise the start of the next record is unknown, and the rest of the segment is skipped.
///
/// Memory use is one window of the file, or one record's mutations if those are larger.
struct HintSegmentScan {
    enum Step {
        case record(HintFormat.RecordHeader)
        /// The next record's mutations exceed the limit; it was not consumed.
        case tooLarge
        /// A damaged record was skipped.
        case damaged(offset: Int, String)
        /// The rest of the segment was skipped.
        case damagedRest(offset: Int, String)
        case end
    }

    static let windowBytes = 256 << 10

    let file: any File
    let target: UUID
    let number: UInt64
    let size: Int
    /// The offset of the next record.
    private(set) var offset: Int
    /// The range in `window` of the mutations of the record that `next` returned.
    private(set) var payload: Range<Int> = 0..<0
    private(set) var window: [UInt8] = []
    private var windowStart = 0
    /// Whether the end was reached.
    private(set) var isOver = false
    private var isHeaderChecked = false

    /// - Parameter offset: where to start; 0 for the first record.
    init(_ file: any File, target: UUID, number: UInt64, from offset: Int) throws(FileError) {
        self.file = file
        self.target = target
        self.number = number
        size = try file.size()
        self.offset = max(offset, HintFormat.headerBytes)
    }

    /// Loads `count` bytes of the file from `start` into the window.
    /// - Returns: their index in the window; nil when the file has become shorter.
    private mutating func load(_ start: Int, _ count: Int) throws(FileError) -> Int? {
        if start >= windowStart && windowStart + window.count - start >= count { return start - windowStart }
        let wanted = min(max(count, HintSegmentScan.windowBytes), size - start)
        window = [UInt8](repeating: 0, count: wanted)
        windowStart = start
        let file = file
        let got = try window.readTyped { (buffer) throws(FileError) in try file.read(at: start, into: buffer) }
        window.removeLast(wanted - got)
        return got >= count ? 0 : nil
    }

    private mutating func header(at start: Int) throws(FileError) -> HintFormat.RecordHeader? {
        guard size - start >= HintFormat.recordHeaderBytes, let at = try load(start, HintFormat.recordHeaderBytes)
        else { return nil }
        return window.withUnsafeBytes {
            HintFormat.parseRecord(UnsafeRawBufferPointer(rebasing: $0[at...]), segment: number, offset: start)
        }
    }

    /// Reads the next record.
    /// - Parameter limit: the maximum bytes of mutations to return.
    mutating func next(limit: Int) throws(FileError) -> Step {
        if !isHeaderChecked {
            isHeaderChecked = true
            let length = min(size, HintFormat.headerBytes)
            let at = try load(0, length) ?? 0
            let (target, number) = (target, number)
            let isGood = window.withUnsafeBytes { bytes in
                do throws(HintFormat.HeaderProblem) {
                    try HintFormat.checkHeader(
                        UnsafeRawBufferPointer(rebasing: bytes[at...]), target: target, segment: number)
                    return true
                } catch { return false }
            }
            if !isGood { return try endOrRest(at: 0, from: HintFormat.headerBytes, "the segment's header is damaged") }
        }
        guard offset < size else { return finish() }
        let start = offset
        guard let header = try header(at: start) else {
            return try endOrRest(
                at: start, from: start + 8, "the header of a hint is damaged, and valid hints follow it")
        }
        if header.isEnd { return finish() }
        guard size - start >= header.storedCount else { return finish() }
        if header.mutationCount > limit { return .tooLarge }
        let first = start + HintFormat.recordHeaderBytes
        guard let at = try load(first, header.mutationCount) else { return finish() }
        payload = at..<at + header.mutationCount
        let checksum = window.withUnsafeBytes { Checksum.xxh3(UnsafeRawBufferPointer(rebasing: $0[payload])) }
        offset = start + header.storedCount
        guard checksum != header.payloadChecksum else { return .record(header) }
        guard try hasGoodHeader(from: offset) else { return finish() }
        return .damaged(offset: start, "a hint is damaged, and valid hints follow it")
    }

    private mutating func finish() -> Step {
        isOver = true
        return .end
    }

    private mutating func endOrRest(at place: Int, from start: Int, _ what: String) throws(FileError) -> Step {
        let isDamage = try hasGoodHeader(from: start)
        isOver = true
        return isDamage ? .damagedRest(offset: place, what) : .end
    }

    private mutating func hasGoodHeader(from start: Int) throws(FileError) -> Bool {
        var at = (start + 7) & ~7
        while size - at >= HintFormat.recordHeaderBytes {
            if try header(at: at) != nil { return true }
            at += 8
        }
        return false
    }
}
