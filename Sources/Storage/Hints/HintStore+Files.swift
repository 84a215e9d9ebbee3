import Platform
import Primitives
import Synchronization

extension HintStore {
    /// Reads the contents of a hint directory.
    static func open(
        system: any FileSystem, directory: String, observer: (HintStoreEvent) -> Void
    ) throws(FileError) -> sending (state: State, files: Files) {
        try system.createDirectory(directory)
        var state = State()
        var files = Files()
        var positions: [(target: UUID, number: UInt64, path: String)] = []
        let empty = Series()
        for name in try system.list(directory).sorted() {
            let path = directory + "/" + name
            switch HintFileName(name) {
            case .temporary: try system.remove(path)
            case .segment(let target, let number):
                files.lastNumber = max(files.lastNumber, number)
                guard let segment = try examine(system, path, target: target, number: number, observer) else {
                    continue
                }
                state.series[target, default: empty].segments.append(segment)
                state.storedBytes += segment.fileBytes
            case .position(let target, let number): positions.append((target, number, path))
            case .overflow(let target):
                // An unreadable overflow file counts as unlimited: an extra repair is harmless.
                let read = HintStateFile.decodeOverflow(try system.readAll(path))
                if read == nil {
                    observer(
                        .damaged(
                            path: path, offset: 0, "it does not parse, so the node counts as having missed all writes"))
                }
                state.series[target, default: empty].overflow = read ?? HintOverflow(first: 0, last: .max)
            case nil: continue
            }
        }
        for target in state.series.keys { state.series[target, default: empty].segments.sort { $0.number < $1.number } }
        for position in positions {
            guard
                let index = state.series[position.target]?.segments.firstIndex(where: { $0.number == position.number })
            else {
                try system.remove(position.path)
                continue
            }
            // A damaged position counts as none: the segment is replayed from its start.
            guard let offset = HintStateFile.decodePosition(try system.readAll(position.path)),
                offset >= HintFormat.headerBytes, offset % 8 == 0
            else {
                state.series[position.target]?.segments[index].savedPosition = 1
                continue
            }
            state.series[position.target]?.segments[index].acknowledged = offset
            state.series[position.target]?.segments[index].savedPosition = offset
        }
        try system.syncDirectory(directory)
        return (state, files)
    }

    /// Reads an existing segment's header and syncs the file; nil for an unknown version. The reader finds other
    /// damage.
    private static func examine(
        _ system: any FileSystem, _ path: String, target: UUID, number: UInt64, _ observer: (HintStoreEvent) -> Void
    ) throws(FileError) -> Segment? {
        let file = try system.open(path, .read)
        defer { file.close() }
        var bytes = [UInt8](repeating: 0, count: HintFormat.headerBytes + HintFormat.recordHeaderBytes)
        let count = try bytes.readTyped { (buffer) throws(FileError) in try file.read(at: 0, into: buffer) }
        let found: (version: UInt32?, first: HintFormat.RecordHeader?) = bytes.withUnsafeBytes { raw in
            let head = UnsafeRawBufferPointer(rebasing: raw[..<count])
            do throws(HintFormat.HeaderProblem) {
                try HintFormat.checkHeader(head, target: target, segment: number)
            } catch {
                if case .version(let found) = error { return (found, nil) }
                return (nil, nil)
            }
            let rest = UnsafeRawBufferPointer(rebasing: head[min(count, HintFormat.headerBytes)...])
            return (nil, HintFormat.parseRecord(rest, segment: number, offset: HintFormat.headerBytes))
        }
        if let version = found.version {
            observer(.unknownVersion(path: path, found: version))
            return nil
        }
        // A killed process may have left it unsynced.
        try file.sync()
        let made = UInt32(clamping: number / 1000)
        return Segment(
            number: number, fileBytes: try file.size(),
            oldest: found.first.flatMap { $0.isEnd ? nil : $0.created } ?? made)
    }

    /// Passes all added hints to the kernel, so that they survive the end of the process.
    /// - Throws: `file` when a write fails; the next flush retries the same hints.
    public func flush() throws(StorageError) {
        do throws(FileError) {
            try files.withLockTyped { (files) throws(FileError) in try self.write(&files) }
        } catch { throw .file(error) }
    }

    /// Flushes, and returns once everything is on disk; writes position and overflow files, and removes acknowledged
    /// segments.
    ///
    /// A failed step does not skip the others.
    /// - Throws: `file` with the first failure. The next call retries everything except a file that failed to sync,
    ///   whose target is marked as needing a repair.
    public func sync() throws(StorageError) {
        do throws(FileError) {
            try files.withLockTyped { (files) throws(FileError) in try self.syncAll(&files) }
        } catch { throw .file(error) }
    }

    /// Flushes, syncs, seals and closes; `add` throws afterwards.
    public func close() throws(StorageError) {
        state.withLock { $0.isClosed = true }
        do throws(FileError) {
            try files.withLockTyped { (files) throws(FileError) in
                var failure: FileError?
                do throws(FileError) { try self.write(&files) } catch { failure = error }
                for target in files.open.keys.sorted() {
                    do throws(FileError) { try self.seal(target, &files) } catch { failure = failure ?? error }
                }
                do throws(FileError) { try self.syncAll(&files) } catch { failure = failure ?? error }
                if let failure { throw failure }
            }
        } catch { throw .file(error) }
    }

    /// Forgets a node that left the cluster, with all its hints.
    /// - Throws: `file` when a file cannot be removed; the others still are.
    public func remove(_ target: UUID) throws(StorageError) {
        do throws(FileError) {
            try files.withLockTyped { (files) throws(FileError) in
                files.open.removeValue(forKey: target)?.file.close()
                files.unwritten[target] = nil
                self.state.withLock { state in
                    guard let series = state.series.removeValue(forKey: target) else { return }
                    state.bufferedBytes -= series.bufferedBytes
                    state.storedBytes -= series.storedBytes
                }
                var failure: FileError?
                for name in try self.system.list(self.directory) {
                    switch HintFileName(name) {
                    case .segment(target, _), .position(target, _), .overflow(target):
                        do throws(FileError) { try self.system.remove(self.directory + "/" + name) } catch {
                            failure = failure ?? error
                        }
                    default: continue
                    }
                }
                try self.system.syncDirectory(self.directory)
                if let failure { throw failure }
            }
        } catch { throw .file(error) }
    }

    // MARK: Writing

    /// Writes the remains of a failed write first, then the newly added hints.
    func write(_ files: inout Files) throws(FileError) {
        let waiting = state.withLock { state in
            let targets = state.series.keys.filter { state.series[$0]?.pending.isEmpty == false }
            for target in targets {
                let pending = state.series[target]?.pending ?? []
                state.series[target]?.pending = []
                state.series[target]?.writingBytes += pending.count
                files.unwritten[target, default: []] += pending
            }
            return files.unwritten.keys.sorted()
        }
        var failure: FileError?
        for target in waiting {
            do throws(FileError) { try writeRecords(of: target, &files) } catch { failure = failure ?? error }
        }
        if let failure { throw failure }
    }

    private func writeRecords(of target: UUID, _ files: inout Files) throws(FileError) {
        while let records = files.unwritten[target], !records.isEmpty {
            if files.open[target] == nil { try openSegment(target, &files) }
            guard var segment = files.open[target] else { return }
            var out = segment.offset == 0 ? HintFormat.header(target: target, segment: segment.number) : []
            // Take the records that fit, leaving space for the end record.
            let room = options.fileBytes - HintFormat.recordHeaderBytes - segment.offset - out.count
            var taken = 0
            var count = 0
            var oldest = UInt32.max
            var starts: [Int] = []
            while taken < records.count {
                let stored = HintFormat.storedCount(mutations: HintFormat.mutationCount(records, at: taken))
                if room - taken < stored { break }
                starts.append(taken)
                oldest = min(oldest, HintFormat.created(records, at: taken))
                taken += stored
                count += 1
            }
            guard taken > 0 else {
                precondition(segment.offset > 0, "a record larger than a segment")
                try seal(target, &files)
                continue
            }
            let head = out.count
            out += records[..<taken]
            for start in starts {
                HintFormat.place(&out, at: head + start, segment: segment.number, offset: segment.offset + head + start)
            }
            try out.withUnsafeBytesTyped { (bytes) throws(FileError) in
                try segment.file.write(bytes, at: segment.offset)
            }
            segment.offset += out.count
            segment.hasUnsynced = true
            files.open[target] = segment
            files.unwritten[target] = taken == records.count ? nil : Array(records[taken...])
            noteWritten(target, segment, taken: taken, count: count, bytes: out.count, oldest: oldest)
        }
    }

    private func noteWritten(_ target: UUID, _ segment: OpenSegment, taken: Int, count: Int, bytes: Int, oldest: UInt32)
    {
        state.withLock { state in
            var series = state.series.removeValue(forKey: target) ?? Series()
            series.writingBytes -= taken
            if series.bufferedBytes == 0 { series.bufferedOldest = .max }
            if series.segments.last?.number != segment.number {
                series.segments.append(Segment(number: segment.number, fileBytes: 0, oldest: oldest))
            }
            let last = series.segments.count - 1
            series.segments[last].fileBytes += bytes
            series.segments[last].oldest = min(series.segments[last].oldest, oldest)
            state.series[target] = series
            state.bufferedBytes -= taken
            state.storedBytes += bytes - taken
            state.counters.written += count
            state.counters.writtenBytes += bytes
        }
    }

    private func openSegment(_ target: UUID, _ files: inout Files) throws(FileError) {
        let number = max(files.lastNumber + 1, UInt64(clamping: time.wallMicroseconds() / 1000))
        let file = try system.open(path(.segment(target, number)), .create)
        files.lastNumber = number
        files.isDirectoryChanged = true
        files.open[target] = OpenSegment(file: file, number: number)
    }

    /// Ends the segment being written; it is complete and on disk when this returns.
    func seal(_ target: UUID, _ files: inout Files) throws(FileError) {
        guard let segment = files.open.removeValue(forKey: target) else { return }
        defer { segment.file.close() }
        guard segment.offset > 0 else {
            // Nothing was written to it, so it is in no list of segments, and replay ignores an empty file.
            files.isDirectoryChanged = true
            do throws(FileError) { try system.remove(path(.segment(target, segment.number))) } catch {}
            return
        }
        let end = HintFormat.end(segment: segment.number, offset: segment.offset)
        do throws(FileError) {
            try end.withUnsafeBytesTyped { (bytes) throws(FileError) in
                try segment.file.write(bytes, at: segment.offset)
            }
            state.withLock { state in
                guard let index = state.series[target]?.segments.firstIndex(where: { $0.number == segment.number })
                else { return }
                state.series[target]?.segments[index].fileBytes += end.count
                state.storedBytes += end.count
            }
        } catch {}  // a partial end record reads as a torn tail: no record is lost
        try syncFile(segment, target)
    }

    private func syncFile(_ segment: OpenSegment, _ target: UUID) throws(FileError) {
        do throws(FileError) { try segment.file.sync() } catch {
            // The kernel may have dropped the data, and a second sync would not report it.
            state.withLock { state in
                let oldest = state.series[target]?.segments.first { $0.number == segment.number }?.oldest
                let now = max(time.wallSeconds(), oldest ?? 0)
                HintStore.mark(&state, target, HintOverflow(first: oldest ?? now, last: now))
            }
            throw error
        }
    }

    // MARK: Syncing

    private func syncAll(_ files: inout Files) throws(FileError) {
        var failure: FileError?
        func attempt(_ step: () throws(FileError) -> Void) {
            do throws(FileError) { try step() } catch { failure = failure ?? error }
        }
        attempt { () throws(FileError) in try write(&files) }
        for (target, segment) in files.open.sorted(by: { $0.key < $1.key }) where segment.hasUnsynced {
            files.open[target]?.hasUnsynced = false
            do throws(FileError) { try syncFile(segment, target) } catch {
                failure = failure ?? error
                // Write nothing more into a file that failed to sync.
                files.open.removeValue(forKey: target)?.file.close()
            }
        }
        attempt { () throws(FileError) in try removeDone(&files) }
        attempt { () throws(FileError) in try savePositions() }
        attempt { () throws(FileError) in try saveOverflows(&files) }
        if files.isDirectoryChanged {
            attempt { () throws(FileError) in
                try system.syncDirectory(directory)
                files.isDirectoryChanged = false
            }
        }
        state.withLock { state in
            for (target, series) in state.series where series.isEmpty { state.series[target] = nil }
        }
        if let failure { throw failure }
    }

    private func removeDone(_ files: inout Files) throws(FileError) {
        let done = state.withLock { state in
            state.series.flatMap { target, series in
                series.segments.filter { $0.isDone }.map { (target, $0.number, $0.savedPosition > 0) }
            }
        }.sorted { ($0.0, $0.1) < ($1.0, $1.1) }
        for (target, number, hasPosition) in done {
            files.isDirectoryChanged = true
            // Remove the position last: a segment that reappears after a crash must not be replayed from its start.
            do throws(FileError) { try system.remove(path(.segment(target, number))) } catch {
                if error.reason != .notFound { throw error }
            }
            if hasPosition {
                do throws(FileError) { try system.remove(path(.position(target, number))) } catch {
                    if error.reason != .notFound { throw error }
                }
            }
            state.withLock { state in
                guard let index = state.series[target]?.segments.firstIndex(where: { $0.number == number }) else {
                    return
                }
                let removed = state.series[target]?.segments.remove(at: index)
                state.storedBytes -= removed?.fileBytes ?? 0
            }
        }
    }

    private func savePositions() throws(FileError) {
        let changed = state.withLock { state in
            state.series.flatMap { target, series in
                series.segments.filter { !$0.isDone && $0.acknowledged > $0.savedPosition }.map {
                    (target, $0.number, $0.acknowledged)
                }
            }
        }.sorted { ($0.0, $0.1) < ($1.0, $1.1) }
        for (target, number, offset) in changed {
            // From here on a file may exist, even if writing it fails.
            state.withLock { state in
                guard let index = state.series[target]?.segments.firstIndex(where: { $0.number == number }) else {
                    return
                }
                let saved = state.series[target]?.segments[index].savedPosition ?? 0
                state.series[target]?.segments[index].savedPosition = max(1, saved)
            }
            try system.replace(
                path(.position(target, number)), with: HintStateFile.position(offset), directory: directory)
            state.withLock { state in
                guard let index = state.series[target]?.segments.firstIndex(where: { $0.number == number }) else {
                    return
                }
                state.series[target]?.segments[index].savedPosition = offset
            }
        }
    }

    private func saveOverflows(_ files: inout Files) throws(FileError) {
        let changed = state.withLock { state in
            state.series.filter { !$0.value.isOverflowSaved }.map { ($0.key, $0.value.overflow) }
        }.sorted { $0.0 < $1.0 }
        for (target, overflow) in changed {
            let path = path(.overflow(target))
            if let overflow {
                try system.replace(path, with: HintStateFile.overflow(overflow), directory: directory)
            } else {
                files.isDirectoryChanged = true
                do throws(FileError) { try system.remove(path) } catch { if error.reason != .notFound { throw error } }
            }
            state.withLock { state in
                if state.series[target]?.overflow == overflow { state.series[target]?.isOverflowSaved = true }
            }
        }
    }
}

extension Array where Element == UInt8 {
    /// `withUnsafeMutableBytes` that preserves the error's type.
    ///
    /// SAFETY: the pointer does not leave `body`.
    mutating func readTyped<R>(_ body: (UnsafeMutableRawBufferPointer) throws(FileError) -> R) throws(FileError) -> R {
        let outcome: Result<R, FileError> = withUnsafeMutableBytes { bytes in
            do throws(FileError) { return .success(try body(bytes)) } catch { return .failure(error) }
        }
        return try outcome.get()
    }
}
