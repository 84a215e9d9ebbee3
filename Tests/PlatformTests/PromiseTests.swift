import ModelLoop
import Platform
import Synchronization
import Testing

@Suite struct PromiseTests {
    @Test func fulfilledPromiseReturnsAtOnce() {
        let promise = Promise<Int>()
        promise.fulfil(7)
        #expect(promise.wait(on: InlineBackground()) == 7)
    }

    @Test func laterValuesAreIgnored() {
        let promise = Promise<String>()
        promise.fulfil("first")
        promise.fulfil("second")
        #expect(promise.wait(on: InlineBackground()) == "first")
    }

    @Test func waitingThreadIsResumed() {
        let background = RecordingBackground()
        let promise = Promise<[UInt8]>()
        // The value comes when the thread waits already.
        background.onWait = { promise.fulfil([1, 2]) }
        #expect(promise.wait(on: background) == [1, 2])
        #expect(background.resumptions.load(ordering: .relaxed) == 1)
    }

    @Test func fiberWaitsWithoutBlockingItsLoop() {
        let loop = ModelLoop()
        let promise = Promise<Int>()
        let background = InlineBackground()
        var steps: [String] = []
        loop.start { _ in
            steps.append("waits")
            steps.append("has \(promise.wait(on: background))")
        }
        loop.start { _ in
            steps.append("fulfils")
            promise.fulfil(3)
        }
        loop.drain()
        #expect(steps == ["waits", "fulfils", "has 3"])
    }

    @Test func gatheredValuesComeInOrderOfArrival() {
        let values = Gathering<Int>(count: 3)
        for value in [3, 1, 2] { values.add(value) }
        #expect(values.wait(on: InlineBackground()) == [3, 1, 2])
        #expect(Gathering<Int>(count: 0).wait(on: InlineBackground()) == [])
    }

    @Test func lastValueResumesTheWaitingThread() {
        let loop = ModelLoop()
        let values = Gathering<Int>(count: 5)
        var gathered: [Int]?
        loop.start { _ in gathered = values.wait(on: InlineBackground()) }
        for value in 1...5 {
            loop.start { fiber in
                fiber.sleep(nanoseconds: UInt64(1000 * (6 - value)))
                values.add(value)
            }
        }
        loop.drain()
        #expect(gathered == [5, 4, 3, 2, 1])
    }
}

/// Waits as a thread does, and does something as soon as somebody waits.
private final class RecordingBackground: Background, @unchecked Sendable {
    /// Set before anything waits.
    var onWait: () -> Void = {}
    let resumptions = Atomic<Int>(0)

    func run(_ kind: BackgroundKind, _ work: @escaping @Sendable () -> Void) { work() }
    func sleep(nanoseconds: UInt64) {}

    func wait(_ register: (_ resume: @escaping @Sendable () -> Void) -> Void) {
        register { [self] in resumptions.add(1, ordering: .relaxed) }
        onWait()
    }
}
