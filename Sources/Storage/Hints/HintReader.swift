import Platform
import Primitives
import Synchronization

/// Gives out the hints of one target that were there when it was made, in order.
///
/// **Thread safety**: all methods, from any thread. `next` reads files and may wait; `acknowledge` does not.
public final class HintReader: Sendable {
    /// Where the reading is. `next` locks it, and `passed` within.
    struct Cursor {
        /// Segments not begun, oldest first.
        var segments: ArraySlice<HintStore.Segment>
        var scan: HintSegmentScan?
    }

    /// What was given out or passed over, and is not acknowledged.
    struct Passed {
        /// A batch, or a stretch with nothing to deliver.
        struct Stretch {
            var end: HintPosition
            var count: Int
            var bytes: Int
        }
        /// In order; a stretch without hints counts as acknowledged once all before it is.
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

    /// The next hints, all of one segment.
    ///
    /// Hints older than their grace are dropped. Damage is told to the observer and passed over; the target is marked as needing a repair.
    /// - Parameters:
    ///   - maxBytes: of their mutations; the first may have more.
    ///   - maxHints: at least 1.
    /// - Returns: nil when there are no more. What was added meanwhile is for another reader.
    /// - Throws: `file` when a file cannot be read; the next call begins at the same hint.
    public func next(maxBytes: Int, maxHints: Int = .max) throws(StorageError) -> HintBatch? {
        precondition(maxHints > 0, "a batch of no hints")
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
                        Hint(mutations: Array(scan.window[scan.payload]), createdAt: header.created, graceSeconds: header.grace))
                    bytes += header.mutationCount
                }
            case .tooLarge: return give(hints, bytes, end: start)
            case .damaged(let offset, let what), .damagedRest(let offset, let what): report(scan, offset, what)
            case .end: break
            }
            // A batch ends behind what follows it and is not delivered.
            let isOver = scan.isOver
            let end = HintPosition(segment: scan.number, offset: isOver ? .max : scan.offset)
            if isOver { scan.file.close() }
            cursor.scan = isOver ? nil : scan
            if hints.isEmpty { pass(to: end) }
            if isOver && !hints.isEmpty { return give(hints, bytes, end: end) }
        }
    }

    /// Opens the next segment; false after the last.
    private func begin(_ cursor: inout Cursor) throws(FileError) -> Bool {
        while let segment = cursor.segments.first {
            let file: any File
            do throws(FileError) {
                file = try store.system.open(store.path(.segment(target, segment.number)), .read)
            } catch {
                guard error.reason == .notFound else { throw error }
                // The target was removed, or another reader was faster.
                cursor.segments.removeFirst()
                pass(to: HintPosition(segment: segment.number, offset: .max))
                continue
            }
            do throws(FileError) {
                cursor.scan = try HintSegmentScan(file, target: target, number: segment.number, from: segment.acknowledged)
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
            let oldest = state.series[target]?.segments.first { $0.number == scan.number }?.oldest ?? UInt32(clamping: scan.number / 1000)
            let last = max(oldest, store.time.wallSeconds())
            HintStore.mark(&state, target, HintOverflow(first: oldest, last: last))
        }
        store.observer(.damaged(path: scan.file.path, offset: offset, what))
    }

    private func give(_ hints: [Hint], _ bytes: Int, end: HintPosition) -> HintBatch {
        passed.withLock { $0.stretches.append(Passed.Stretch(end: end, count: hints.count, bytes: bytes)) }
        return HintBatch(hints: hints, end: end)
    }

    /// There is nothing to deliver up to there.
    private func pass(to end: HintPosition) {
        passed.withLock { passed in
            if let last = passed.stretches.last, last.count == 0 { passed.stretches.removeLast() }
            passed.stretches.append(Passed.Stretch(end: end, count: 0, bytes: 0))
        }
        advance(to: nil)
    }

    /// All hints up to there have arrived, or are wanted no more; they are not given out again.
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
    /// What waits for a node, in order; nil when nothing does.
    ///
    /// Writes what was added until now and seals the segment, on the disk. Where that fails, which the observer is told, the reader has what was written
    /// before: on a full disk, replaying is what makes room. One reader at a time makes sense for a target.
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
