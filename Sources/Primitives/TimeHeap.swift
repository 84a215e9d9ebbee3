/// Slots by a time: a binary heap, the earliest first. Slots with equal times come in the order in which they were set.
///
/// A slot is a small number that its owner uses for one thing at a time. The heap holds no references.
public struct TimeHeap: Sendable {
    private struct Entry: Sendable {
        let time: Int64
        let order: UInt64
        let slot: Int32
    }

    private var heap: ContiguousArray<Entry> = []
    /// The place of each slot's entry in the heap; -1: none.
    private var places: ContiguousArray<Int32> = []
    private var order: UInt64 = 0

    public init() {}

    /// The earliest time.
    public var first: Int64? { heap.first?.time }

    public func contains(_ slot: Int) -> Bool { slot < places.count && places[slot] >= 0 }

    private static func precedes(_ a: Entry, _ b: Entry) -> Bool {
        a.time != b.time ? a.time < b.time : a.order < b.order
    }

    /// Sets the time of a slot, instead of an earlier one.
    public mutating func set(_ slot: Int, _ time: Int64) {
        set(slot, time, order: order)
        order += 1
    }

    /// Like the method above, with the place among slots of equal times: the lowest order comes first.
    public mutating func set(_ slot: Int, _ time: Int64, order: UInt64) {
        remove(slot)
        while places.count <= slot { places.append(-1) }
        heap.append(Entry(time: time, order: order, slot: Int32(slot)))
        rise(from: heap.count - 1)
    }

    /// Removes the time of a slot, if it has one.
    public mutating func remove(_ slot: Int) {
        guard contains(slot) else { return }
        let place = Int(places[slot])
        places[slot] = -1
        let last = heap.removeLast()
        guard place < heap.count else { return }
        heap[place] = last
        places[Int(last.slot)] = Int32(place)
        rise(from: place)
        sink(from: Int(places[Int(last.slot)]))
    }

    /// Removes and returns the slot with the earliest time, if that is not later than `now`.
    public mutating func take(until now: Int64 = .max) -> Int? {
        guard let first = heap.first, first.time <= now else { return nil }
        remove(Int(first.slot))
        return Int(first.slot)
    }

    private mutating func rise(from place: Int) {
        var child = place
        let entry = heap[child]
        while child > 0 {
            let parent = (child - 1) / 2
            guard TimeHeap.precedes(entry, heap[parent]) else { break }
            put(heap[parent], at: child)
            child = parent
        }
        put(entry, at: child)
    }

    private mutating func sink(from place: Int) {
        var parent = place
        let entry = heap[parent]
        while true {
            var child = 2 * parent + 1
            guard child < heap.count else { break }
            if child + 1 < heap.count, TimeHeap.precedes(heap[child + 1], heap[child]) { child += 1 }
            guard TimeHeap.precedes(heap[child], entry) else { break }
            put(heap[child], at: parent)
            parent = child
        }
        put(entry, at: parent)
    }

    private mutating func put(_ entry: Entry, at place: Int) {
        heap[place] = entry
        places[Int(entry.slot)] = Int32(place)
    }
}
