import ModelLoop
import Platform
import Primitives
import Testing

@Suite struct FiberTests {
    @Test func taskThatNeverWaitsIsDoneWhenRunReturns() {
        let loop = ModelLoop()
        var isDone = false
        #expect(loop.pool.run { isDone = true } == .done)
        #expect(isDone && loop.pool.count == 1 && loop.pool.busy == 0)
    }

    @Test func fibersTakeTurnsWhileTheyWait() throws {
        let loop = ModelLoop()
        var steps: [String] = []
        for name in ["a", "b"] {
            loop.start { fiber in
                for step in 1...3 {
                    steps.append("\(name)\(step)")
                    fiber.sleep(nanoseconds: 1000)
                }
            }
        }
        loop.drain()
        #expect(steps == ["a1", "b1", "a2", "b2", "a3", "b3"])
        #expect(loop.pool.count == 2 && loop.pool.busy == 0)
    }

    /// What a fiber holds over a wait is there after it: values in registers and on the stack, typed errors, deferred
    /// work.
    @Test func stateSurvivesWaits() throws {
        struct Failure: Error, Equatable { let number: Int }
        let loop = ModelLoop(seed: 3)
        func work(_ fiber: Fiber, _ depth: Int, _ log: inout [Int]) throws(Failure) -> Double {
            defer { log.append(depth) }
            let array = (0..<depth).map { Double($0) * 1.5 }
            fiber.sleep(nanoseconds: UInt64(depth) * 100)
            if depth == 0 { throw Failure(number: 7) }
            do throws(Failure) { return try work(fiber, depth - 1, &log) + array.reduce(0, +) } catch {
                fiber.sleep(nanoseconds: 50)
                throw error
            }
        }
        var failures = 0
        for _ in 0..<20 {
            loop.start { fiber in
                var log: [Int] = []
                do throws(Failure) { _ = try work(fiber, 8, &log) } catch {
                    if error == Failure(number: 7) { failures += 1 }
                }
                #expect(log == Array(0...8))
            }
        }
        loop.drain()
        #expect(failures == 20)
    }

    /// A resumption that comes too late, or twice, does not wake the fiber from its next wait.
    @Test func lateResumptionDoesNotEndTheNextWait() {
        let loop = ModelLoop()
        var late: (@Sendable () -> Void)?
        var steps = 0
        loop.start { fiber in
            fiber.wait { resume in
                late = resume
                resume()
                resume()
            }
            steps += 1
            fiber.suspend()
            steps += 1
        }
        loop.drain()
        #expect(steps == 1)
        late?()
        loop.drain()
        #expect(steps == 1 && loop.pool.busy == 1)
    }

    @Test func blockingWorkRunsElsewhereWhileTheFiberWaits() throws {
        let loop = ModelLoop()
        var onFiber: [Bool] = []
        let result = try loop.run { _ in
            var value = 0
            Fiber.blocking(.read) {
                onFiber.append(Fiber.isRunning)
                value = 42
            }
            onFiber.append(Fiber.isRunning)
            return value
        }
        #expect(result == 42 && onFiber == [false, true])
        var inline = 0
        Fiber.blocking(.read) { inline = 1 }
        #expect(inline == 1)
    }

    @Test func fibersNest() throws {
        let loop = ModelLoop()
        var steps: [String] = []
        loop.start { outer in
            steps.append("outer")
            loop.start { inner in
                steps.append("inner")
                #expect(Fiber.current === inner)
                inner.sleep(nanoseconds: 10)
                steps.append("inner again")
            }
            #expect(Fiber.current === outer)
            steps.append("outer again")
        }
        loop.drain()
        #expect(steps == ["outer", "inner", "outer again", "inner again"])
    }

    @Test func poolRefusesBeyondItsLimitAndFreesIdleFibers() {
        let loop = ModelLoop()
        let pool = FiberPool(loop: 0, network: loop, background: loop, time: loop, limit: 5)
        for _ in 0..<5 { #expect(pool.run { Fiber.current?.sleep(nanoseconds: 100) } == .waiting) }
        #expect(pool.run {} == .refused)
        loop.drain()
        #expect(pool.busy == 0 && pool.count == 5)
        pool.trim()
        #expect(pool.count == 5)
        pool.trim()
        #expect(pool.count == 1)
        #expect(pool.run {} == .done)
    }

    @Test func yieldingFibersLetOthersRun() {
        let loop = ModelLoop()
        // SAFETY: everything runs on the test's thread.
        nonisolated(unsafe) var steps: [String] = []
        loop.start { fiber in
            steps.append("long 1")
            fiber.yield()
            steps.append("long 2")
        }
        loop.onLoop(0) { steps.append("other") }
        loop.drain()
        #expect(steps == ["long 1", "other", "long 2"])
    }
}
