import Platform
import Primitives
import Synchronization

/// Reads the hints of one target that existed when the reader was created, in order.
///
/// **Thread safety**: all methods, from any thread. `next` reads files and may block; `acknowledge` does not.
public final class HintReader: Sendable {
    /// The read position. `next` locks it, then `passed`.
    struct Cursor {
        /// Segments not started, oldest first.
        var segments: ArraySlice<HintStore.Segment>
        var scan: HintSegmentScan?
    }

    /// What was returned or skipped and is not acknowledged yet.
    struct Passed {
        /// A batch, or a part with nothing to deliver.
        struct Stretch {
            var end: HintPosition
            var count: Int
            var bytes: Int
        }
        /// In order. An entry without hints counts as acknowledged once all before it are.
        var stretches: [Stretch] = []
        var acknowledged: HintPosition
    }

    public let target: UUID
    private let store: HintStore
    private let cursor: Mutex<Cursor>
    private let passed: Mutex<Passed>

    init?(_ store: HintStore, target: UUID, segments: [HintStore.Segment]) {
        guard let first = segments.first else { return nil }
        self.store = store
        self.target = target
        cursor = Mutex(Cursor(segments: segments[...]))
        passed = Mutex(Passed(acknowledged: HintPosition(segment: first.number, offset: first.acknowledged)))
    }

    /// Reads the next hints, all from one segment.
    ///
    /// Expired hints are dropped. Damaged parts are reported to the observer and skipped, and the target is marked as
    /// needing a repair.
    /// - Parameters:
    ///   - maxBytes: the maximum bytes of mutations; the first hint may be larger.
    ///   - maxHints: at least 1.
    /// - Returns: nil when there are no more. Hints added since the reader was created need another reader.
    /// - Throws: `file` when a file cannot be read; the next call starts at the same hint.
    public func next(maxBytes: Int, maxHints: Int = .max) throws(StorageError) -> HintBatch? {
        precondition(maxHints > 0, "maxHints must be positive")
        do throws(FileError) {
            return try cursor.withLockTyped { (cursor) throws(FileError) -> HintBatch? in
                try self.read(&cursor, maxBytes: maxBytes, maxHints: maxHints)
            }
        } catch { throw .file(error) }
    }

    private func read(_ cursor: inout Cursor, maxBytes: Int, maxHints: Int) throws(FileError) -> HintBatch? {
        let now = store.time.wallSeconds()
        var hints: [Hint] = []
        var bytes = 0
        while true {
            if cursor.scan == nil, try !begin(&cursor) { return nil }
            guard var scan = cursor.scan else { return nil }
            let start = HintPosition(segment: scan.number, offset: scan.offset)
            if hints.count == maxHints { return give(hints, bytes, end: start) }
            let step: HintSegmentScan.Step
            do throws(FileError) { step = try scan.next(limit: hints.isEmpty ? .max : maxBytes - bytes) } catch {
                if hints.isEmpty { throw error }
                return give(hints, bytes, end: start)
            }
            switch step {
            case .record(let header):
                if Hint.isExpired(createdAt: header.created, graceSeconds: header.grace, now: now) {
                    store.state.withLock { $0.counters.expired += 1 }
                } else {
                    hints.append(
                        Hint(
                            mutations: Array(scan.window[scan.payload]), createdAt: header.created,
                            graceSeconds: header.grace))
                    bytes += header.mutationCount
                }
            case .tooLarge: return give(hints, bytes, end: start)
            case .damaged(let offset, let what), .damagedRest(let offset, let what): report(scan, offset, what)
            case .end: break
            }
            // A batch's end includes the skipped parts that follow it.
            let isOver = scan.isOver
            let end = HintPosition(segment: scan.number, offset: isOver ? .max : scan.offset)
            if isOver { scan.file.close() }
            cursor.scan = isOver ? nil : scan
            if hints.isEmpty { pass(to: end) }
            if isOver && !hints.isEmpty { return give(hints, bytes, end: end) }
        }
    }

    /// Opens the next segment; false when there is none.
    private func begin(_ cursor: inout Cursor) throws(FileError) -> Bool {
        while let segment = cursor.segments.first {
            let file: any File
            do throws(FileError) {
                file = try store.system.open(store.path(.segment(target, segment.number)), .read)
            } catch {
                guard error.reason == .notFound else { throw error }
                // The target was removed, or another reader finished the segment.
                cursor.segments.removeFirst()
                pass(to: HintPosition(segment: segment.number, offset: .max))
                continue
            }
            do throws(FileError) {
                cursor.scan = try HintSegmentScan(
                    file, target: target, number: segment.number, from: segment.acknowledged)
            } catch {
                file.close()
                throw error
            }
            cursor.segments.removeFirst()
            return true
        }
        return false
    }

    private func report(_ scan: HintSegmentScan, _ offset: Int, _ what: String) {
        store.state.withLock { state in
            state.counters.damaged += 1
            let oldest =
                state.series[target]?.segments.first { $0.number == scan.number }?.oldest
                ?? UInt32(clamping: scan.number / 1000)
            let last = max(oldest, store.time.wallSeconds())
            HintStore.mark(&state, target, HintOverflow(first: oldest, last: last))
        }
        store.observer(.damaged(path: scan.file.path, offset: offset, what))
    }

    private func give(_ hints: [Hint], _ bytes: Int, end: HintPosition) -> HintBatch {
        passed.withLock { $0.stretches.append(Passed.Stretch(end: end, count: hints.count, bytes: bytes)) }
        return HintBatch(hints: hints, end: end)
    }

    /// Records that there is nothing to deliver up to `end`.
    private func pass(to end: HintPosition) {
        passed.withLock { passed in
            if let last = passed.stretches.last, last.count == 0 { passed.stretches.removeLast() }
            passed.stretches.append(Passed.Stretch(end: end, count: 0, bytes: 0))
        }
        advance(to: nil)
    }

    /// Acknowledges all hints up to `position`: they were delivered or are no longer wanted, and are not returned
    /// again.
    /// - Parameter position: the `end` of a batch.
    public func acknowledge(upTo position: HintPosition) { advance(to: position) }

    private func advance(to position: HintPosition?) {
        passed.withLock { passed in
            var count = 0
            var bytes = 0
            while let first = passed.stretches.first, first.count == 0 || position.map({ first.end <= $0 }) ?? false {
                passed.acknowledged = max(passed.acknowledged, first.end)
                count += first.count
                bytes += first.bytes
                passed.stretches.removeFirst()
            }
            store.acknowledge(target, upTo: passed.acknowledged, count: count, bytes: bytes)
        }
    }
}

extension HintStore {
    /// Returns a reader for a node's waiting hints; nil when there are none.
    ///
    /// Writes all added hints and seals the segment. When that fails, the observer is told and the reader has what was
    /// written before: on a full disk, replaying is what frees space. Use one reader at a time per target.
    public func reader(for target: UUID) -> HintReader? {
        files.withLock { files in
            do throws(FileError) {
                do throws(FileError) { try self.write(&files) } catch { observer(.failed(error.description)) }
                try self.seal(target, &files)
            } catch { observer(.failed(error.description)) }
            let segments = self.state.withLock { state in state.series[target]?.segments.filter { !$0.isDone } ?? [] }
            return HintReader(self, target: target, segments: segments)
        }
    }

    func acknowledge(_ target: UUID, upTo position: HintPosition, count: Int, bytes: Int) {
        state.withLock { state in
            state.counters.replayed += count
            state.counters.replayedBytes += bytes
            guard let segments = state.series[target]?.segments else { return }
            for (index, segment) in segments.enumerated() {
                guard segment.number <= position.segment else { break }
                let offset = segment.number < position.segment ? Int.max : position.offset
                if offset > segment.acknowledged && (offset == .max || offset > HintFormat.headerBytes) {
                    state.series[target]?.segments[index].acknowledged = offset
                }
            }
        }
    }
}
