import Platform
import Synchronization

extension Background {
    /// Does the same for every item, for several at once, on `.control` threads; the calling thread waits for all.
    /// - Parameter workers: the most items at once.
    func forEach<Item: Sendable>(of items: [Item], workers: Int, _ work: @escaping @Sendable (Item) -> Void) {
        let queue = Mutex(items[...])
        let workers = min(workers, items.count)
        if workers == 0 { return }
        let finished = Gathering<Void>(count: workers)
        for _ in 0..<workers {
            run(.control) {
                while let next = queue.withLock({ $0.popFirst() }) { work(next) }
                finished.add(())
            }
        }
        _ = finished.wait(on: self)
    }
}
