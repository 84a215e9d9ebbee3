import Primitives
import Testing

@Suite struct TimeHeapTests {
    /// Random changes, compared with a sorted list.
    @Test(arguments: 0..<20 as Range<UInt64>) func behavesLikeASortedList(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        func below(_ limit: Int) -> Int { Int(random.next() % UInt64(limit)) }
        var heap = TimeHeap()
        var model: [(time: Int64, order: Int, slot: Int)] = []
        for order in 0..<2000 {
            let slot = below(40)
            switch below(4) {
            case 0, 1:
                let time = Int64(below(30))
                heap.set(slot, time)
                model.removeAll { $0.slot == slot }
                model.append((time, order, slot))
                model.sort { ($0.time, $0.order) < ($1.time, $1.order) }
            case 2:
                heap.remove(slot)
                model.removeAll { $0.slot == slot }
            default:
                let now = Int64(below(30))
                let expected = model.first.flatMap { $0.time <= now ? $0.slot : nil }
                #expect(heap.take(until: now) == expected)
                if expected != nil { model.removeFirst() }
            }
            #expect(heap.first == model.first?.time)
            #expect(heap.contains(slot) == model.contains { $0.slot == slot })
        }
        while !model.isEmpty { #expect(heap.take() == model.removeFirst().slot) }
        #expect(heap.take() == nil)
    }

    @Test func equalTimesFollowTheGivenOrder() {
        var heap = TimeHeap()
        heap.set(1, 5, order: 9)
        heap.set(2, 5, order: 3)
        heap.set(3, 5, order: 6)
        #expect([heap.take(), heap.take(), heap.take()] == [2, 3, 1])
    }
}
