/// What happens at a time, and to whom.
struct Event {
    enum Action {
        /// On the world's own thread.
        case call(() -> Void)
        /// On a fiber.
        case begin(FiberRole, () -> Void)
        /// Goes on with a fiber that waits.
        case resume(Fiber)
    }

    /// Nanoseconds since the beginning.
    var time: UInt64
    /// Events of one time happen in this order.
    var order: UInt64
    /// Whose event it is: nothing happens to who is dead, and later to who is paused.
    var incarnation: Incarnation?
    var action: Action
}

/// Events by time and order: a binary heap.
struct EventQueue {
    private var heap: [Event] = []

    var count: Int { heap.count }
    var first: Event? { heap.first }

    private static func precedes(_ a: Event, _ b: Event) -> Bool { (a.time, a.order) < (b.time, b.order) }

    mutating func add(_ event: Event) {
        heap.append(event)
        var child = heap.count - 1
        while child > 0, EventQueue.precedes(heap[child], heap[(child - 1) / 2]) {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    mutating func removeFirst() -> Event? {
        guard let first = heap.first else { return nil }
        let last = heap.removeLast()
        guard !heap.isEmpty else { return first }
        heap[0] = last
        var parent = 0
        while true {
            var child = 2 * parent + 1
            guard child < heap.count else { break }
            if child + 1 < heap.count, EventQueue.precedes(heap[child + 1], heap[child]) { child += 1 }
            guard EventQueue.precedes(heap[child], heap[parent]) else { break }
            heap.swapAt(child, parent)
            parent = child
        }
        return first
    }
}
