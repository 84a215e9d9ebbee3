import DataModel
import Primitives

/// A source of range tombstones for a scan.
enum RangeTombstoneSource {
    case table(TombstoneCursor)
    case memtable(Memtable, Shard?)

    func shadow(at key: UnsafeRawBufferPointer) throws(StorageError) -> CoveringDeletion {
        switch self {
        case .table(let cursor): return try cursor.shadow(at: key)
        case .memtable(let memtable, let shard):
            guard let shard else { return memtable.deletions.shadow(at: key) }
            return shard.withLock { memtable.deletions.shadow(at: key) }
        }
    }
}

/// Merges the sources of a scan into one sorted sequence of rows with distinct keys.
///
/// 1. A binary heap over the sources' current keys yields the next key.
/// 2. A row from one source only, with no range tombstone over it, is passed on without copying.
/// 3. Otherwise the versions are merged (`RowMerger`) under the latest range tombstone that covers the key. The
///    tombstones are looked up again only when a key leaves the range of the last lookup.
///
/// **Thread safety**: one thread at a time.
final class MergeScan {
    /// A source's current key; a trivial type, so that heap moves are cheap.
    private struct Slot {
        var base: UnsafeRawPointer
        var count: Int
        var source: Int
    }

    private let sources: [ReadSource]
    private let shadows: [RangeTombstoneSource]
    private let direction: Direction
    private let scratch: ReadScratch
    private let heap: UnsafeMutablePointer<Slot>
    private var heapCount = 0
    private var shadow = CoveringDeletion()
    private var isShadowKnown = false
    private var group: [Int] = []

    init(sources: [ReadSource], shadows: [RangeTombstoneSource], direction: Direction, scratch: ReadScratch) {
        self.sources = sources
        self.shadows = shadows
        self.direction = direction
        self.scratch = scratch
        heap = UnsafeMutablePointer<Slot>.allocate(capacity: max(1, sources.count))
    }

    deinit { heap.deallocate() }

    @inline(__always) private func key(_ slot: Slot) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: slot.base, count: slot.count)
    }

    @inline(__always) private func precedes(_ a: Slot, _ b: Slot) -> Bool {
        let order = compareBytes(key(a), key(b))
        if order != 0 { return direction == .forward ? order < 0 : order > 0 }
        return a.source < b.source
    }

    @inline(__always) private func slot(_ source: Int) -> Slot {
        let key = sources[source].key
        return Slot(base: key.baseAddress.unsafelyUnwrapped, count: key.count, source: source)
    }

    private func push(_ slot: Slot) {
        var hole = heapCount
        heapCount += 1
        while hole > 0 {
            let parent = (hole - 1) >> 1
            guard precedes(slot, heap[parent]) else { break }
            heap[hole] = heap[parent]
            hole = parent
        }
        heap[hole] = slot
    }

    /// Replaces the top of the heap and restores the heap order.
    @inline(__always) private func replaceTop(_ slot: Slot) {
        var hole = 0
        while true {
            var child = 2 * hole + 1
            guard child < heapCount else { break }
            if child + 1 < heapCount && precedes(heap[child + 1], heap[child]) { child += 1 }
            guard precedes(heap[child], slot) else { break }
            heap[hole] = heap[child]
            hole = child
        }
        heap[hole] = slot
    }

    private func removeTop() {
        heapCount -= 1
        if heapCount > 0 { replaceTop(heap[heapCount]) }
    }

    @inline(__always) private func isTopAlone() -> Bool {
        guard heapCount > 1 else { return true }
        let top = heap[0]
        func equal(_ other: Slot) -> Bool { other.count == top.count && compareBytes(key(other), key(top)) == 0 }
        if equal(heap[1]) { return false }
        return heapCount <= 2 || !equal(heap[2])
    }

    @inline(__always) private func deletion(over key: UnsafeRawBufferPointer) throws(StorageError) -> DeletionTime {
        if shadows.isEmpty { return .none }
        if isShadowKnown && shadow.covers(key) { return shadow.deletion }
        isShadowKnown = false
        shadow = CoveringDeletion()
        for source in shadows { shadow.join(try source.shadow(at: key)) }
        isShadowKnown = true
        return shadow.deletion
    }

    /// Visits every merged row in order, until `visit` returns false.
    /// - Parameter purge: returns the rule for which deletions of a key may be dropped; nil keeps all.
    func run(
        purge: ((UnsafeRawBufferPointer) -> PurgeRule?)?,
        _ visit: (UnsafeRawBufferPointer, RowView) throws(StorageError) -> Bool
    ) throws(StorageError) {
        for index in sources.indices where try sources[index].start() { push(slot(index)) }
        while heapCount > 0 {
            let top = heap[0]
            let here = key(top)
            let deletion = try deletion(over: here)
            if isTopAlone() {
                let source = sources[top.source]
                if deletion.isNone && (purge == nil || !source.hasDeletions) {
                    guard try visit(here, RowView(source.value)) else { return }
                } else {
                    scratch.out.removeAll()
                    scratch.merger.begin()
                    scratch.merger.add(RowView(source.value))
                    if scratch.merger.merge(shadow: deletion, purge: purge?(here), into: &scratch.out) {
                        guard try visit(here, RowView(scratch.out.bytes)) else { return }
                    }
                }
                if try source.advance() { replaceTop(slot(top.source)) } else { removeTop() }
            } else if try !visitGroup(deletion, purge, visit) {
                return
            }
        }
    }

    /// Merges all versions of the top key and visits the result.
    private func visitGroup(
        _ deletion: DeletionTime, _ purge: ((UnsafeRawBufferPointer) -> PurgeRule?)?,
        _ visit: (UnsafeRawBufferPointer, RowView) throws(StorageError) -> Bool
    ) throws(StorageError) -> Bool {
        let here = key(heap[0])
        group.removeAll(keepingCapacity: true)
        scratch.merger.begin()
        while heapCount > 0, heap[0].count == here.count, compareBytes(key(heap[0]), here) == 0 {
            group.append(heap[0].source)
            scratch.merger.add(RowView(sources[heap[0].source].value))
            removeTop()
        }
        scratch.out.removeAll()
        let mayPurge = purge != nil && group.contains { sources[$0].hasDeletions }
        if scratch.merger.merge(shadow: deletion, purge: mayPurge ? purge?(here) : nil, into: &scratch.out) {
            guard try visit(here, RowView(scratch.out.bytes)) else { return false }
        }
        for source in group where try sources[source].advance() { push(slot(source)) }
        return true
    }
}

/// Working memory of one read or one compaction.
final class ReadScratch {
    let merger = RowMerger()
    var out = ByteWriter(capacity: 512)
}
