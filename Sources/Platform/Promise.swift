import Synchronization

/// A value that one thread provides and another waits for.
///
/// The first `fulfil` sets the value; later ones are ignored. One thread or fiber waits, once.
///
/// **Thread safety**: all methods, from any thread. The lock is not held while the waiting thread is resumed.
public final class Promise<Value: Sendable>: Sendable {
    private enum State: Sendable {
        case empty
        case awaited(resume: @Sendable () -> Void)
        case fulfilled(Value)
    }

    private let state = Mutex(State.empty)

    public init() {}

    /// Sets the value and resumes whoever waits for it.
    public func fulfil(_ value: Value) {
        let resume: (@Sendable () -> Void)? = state.withLock { state in
            switch state {
            case .empty:
                state = .fulfilled(value)
                return nil
            case .awaited(let resume):
                state = .fulfilled(value)
                return resume
            case .fulfilled: return nil
            }
        }
        resume?()
    }

    /// Returns the value; the calling background thread, or the fiber that runs here, waits until there is one.
    public func wait(on background: any Background) -> Value {
        background.wait { resume in
            let isFulfilled = state.withLock { state in
                switch state {
                case .empty:
                    state = .awaited(resume: resume)
                    return false
                case .awaited: preconditionFailure("two threads wait for one promise")
                case .fulfilled: return true
                }
            }
            if isFulfilled { resume() }
        }
        guard case .fulfilled(let value) = state.withLock({ $0 }) else {
            preconditionFailure("a thread was resumed before its promise was fulfilled")
        }
        return value
    }
}

/// A known number of values that several threads provide and one waits for.
///
/// **Thread safety**: all methods, from any thread.
public final class Gathering<Value: Sendable>: Sendable {
    private let count: Int
    private let values = Mutex<[Value]>([])
    private let all = Promise<[Value]>()

    /// - Parameter count: how many values there will be.
    public init(count: Int) {
        self.count = count
        if count == 0 { all.fulfil([]) }
    }

    /// Adds one value; the last one resumes whoever waits.
    public func add(_ value: Value) {
        let complete: [Value]? = values.withLock { values in
            precondition(values.count < count, "more values were gathered than announced")
            values.append(value)
            return values.count == count ? values : nil
        }
        if let complete { all.fulfil(complete) }
    }

    /// Returns all values, in the order in which they arrived; the calling background thread, or the fiber that runs
    /// here, waits for the last one.
    public func wait(on background: any Background) -> [Value] { all.wait(on: background) }
}
