import Synchronization

/// Tells the parts of a node that it stops: loops and retries look at it and end.
final class StopSignal: Sendable {
    private let flag = Atomic<Bool>(false)

    var isSet: Bool { flag.load(ordering: .relaxed) }
    func set() { flag.store(true, ordering: .relaxed) }
}

/// What the node does for the ring now, in words, for `admin status`.
final class NodeActivity: Sendable {
    private let current = Mutex<String>("")

    /// Empty when the node does nothing for the ring.
    var text: String { current.withLock { $0 } }
    func begin(_ text: String) { current.withLock { $0 = text } }
    func end() { current.withLock { $0 = "" } }
}
