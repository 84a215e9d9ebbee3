import Primitives

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

/// A queue of events sorted by time and order. The heap holds their slots.
struct EventQueue {
    private var heap = TimeHeap()
    private var events: [Event?] = []
    private var free: [Int] = []

    /// The time of the first event.
    var firstTime: UInt64? { heap.first.map { UInt64($0) } }

    mutating func add(_ event: Event) {
        let slot: Int
        if let reused = free.popLast() {
            slot = reused
            events[slot] = event
        } else {
            slot = events.count
            events.append(event)
        }
        heap.set(slot, Int64(clamping: event.time), order: event.order)
    }

    mutating func removeFirst() -> Event? {
        guard let slot = heap.take() else { return nil }
        defer {
            events[slot] = nil
            free.append(slot)
        }
        return events[slot]
    }
}
