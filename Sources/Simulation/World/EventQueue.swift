/// An action scheduled for a time, on behalf of a process.
struct Event {
    enum Action {
        /// Runs without a simulated thread.
        case call(() -> Void)
        /// Runs on a simulated thread.
        case begin(ThreadRole, () -> Void)
        /// Resumes a waiting thread.
        case resume(SimulatedThread)
    }

    /// Nanoseconds since the world began.
    var time: UInt64
    /// Events at the same time run in this order.
    var order: UInt64
    /// The process concerned, if any: the event is dropped if it is dead, and deferred while its machine is paused.
    var incarnation: Incarnation?
    var action: Action
}

/// A queue of events sorted by time and order: a binary heap whose entries hold the slots of the events.
struct EventQueue {
    private struct Entry {
        var time: UInt64
        var order: UInt64
        var slot: Int
    }

    private var heap: [Entry] = []
    private var events: [Event?] = []
    private var free: [Int] = []

    /// The time of the first event.
    var firstTime: UInt64? { heap.first?.time }

    @inline(__always) private static func precedes(_ a: Entry, _ b: Entry) -> Bool {
        a.time != b.time ? a.time < b.time : a.order < b.order
    }

    mutating func add(_ event: Event) {
        let entry: Entry
        if let slot = free.popLast() {
            events[slot] = event
            entry = Entry(time: event.time, order: event.order, slot: slot)
        } else {
            events.append(event)
            entry = Entry(time: event.time, order: event.order, slot: events.count - 1)
        }
        heap.append(entry)
        var hole = heap.count - 1
        while hole > 0 {
            let parent = heap[(hole - 1) / 2]
            guard EventQueue.precedes(entry, parent) else { break }
            heap[hole] = parent
            hole = (hole - 1) / 2
        }
        heap[hole] = entry
    }

    mutating func removeFirst() -> Event? {
        guard let first = heap.first, let last = heap.popLast() else { return nil }
        if !heap.isEmpty { sink(last) }
        let event = events[first.slot]
        events[first.slot] = nil
        free.append(first.slot)
        return event
    }

    /// Puts an entry in place of the removed first one and restores the heap.
    private mutating func sink(_ entry: Entry) {
        var hole = 0
        let count = heap.count
        while true {
            var child = 2 * hole + 1
            guard child < count else { break }
            var candidate = heap[child]
            if child + 1 < count {
                let other = heap[child + 1]
                if EventQueue.precedes(other, candidate) {
                    child += 1
                    candidate = other
                }
            }
            guard EventQueue.precedes(candidate, entry) else { break }
            heap[hole] = candidate
            hole = child
        }
        heap[hole] = entry
    }
}
