import Messages
import Primitives
import Testing

@testable import Cluster

@Suite struct PhiAccrualDetectorTests {
    let endpoint = Endpoint(address: "10.0.0.1", port: 7000)
    let second: Int64 = 1_000_000

    /// Returns a detector that ticked and heard the endpoint `count` times at a fixed interval, and the time after
    /// that.
    private func steady(_ count: Int, interval: Int64 = 1_000_000) -> (PhiAccrualDetector, Int64) {
        var detector = PhiAccrualDetector()
        var now: Int64 = 0
        for _ in 0..<count {
            now += interval
            _ = detector.tick(now: now)
            detector.report(endpoint, now: now)
        }
        return (detector, now)
    }

    /// Ticks without heartbeats until conviction and returns the seconds that took.
    private func secondsToConviction(_ detector: inout PhiAccrualDetector, from start: Int64) -> Double {
        var now = start
        while now - start < 100 * second {
            now += second / 10
            _ = detector.tick(now: now)
            if detector.convicts(endpoint, now: now) { break }
        }
        return Double(now - start) / Double(second)
    }

    @Test func silenceOf18MeanIntervalsConvicts() {
        var (detector, now) = steady(2_000)
        #expect(abs(detector.phi(endpoint, now: now + second) - 0.4343) < 0.001)  // 1 / ln 10
        let seconds = secondsToConviction(&detector, from: now)
        #expect(seconds > 18.3 && seconds < 18.7, "\(seconds)")
        now += 20 * second
        let why = detector.explain(endpoint, now: now)
        #expect(
            why?.samples == 1_000 && why?.meanInterval == 1_000_000 && why?.lastInterval == second
                && why?.silence == 20 * second)
        #expect(
            why?.description
                == "10.0.0.1:7000: phi 8.69 of 8.00: silent for 20.000 s, mean interval 1.000 s of 1000 samples, last interval 1.000 s; convicted"
        )
        #expect(detector.phi(Endpoint(address: "other", port: 1), now: now) == 0)
        #expect(detector.explain(Endpoint(address: "other", port: 1), now: now) == nil)
    }

    @Test func nodeHeardOnceGetsTwiceTheTime() {
        var (detector, now) = steady(1)
        let seconds = secondsToConviction(&detector, from: now)
        #expect(seconds > 36 && seconds < 38, "\(seconds)")
        detector.forget(endpoint)
        now += 100 * second
        #expect(detector.phi(endpoint, now: now) == 0)
    }

    @Test func outageDoesNotCountAsAnInterval() {
        var (detector, now) = steady(100)
        now += 300 * second
        for _ in 0..<10 {
            _ = detector.tick(now: now)
            detector.report(endpoint, now: now)
            now += second
        }
        #expect(secondsToConviction(&detector, from: now - second) < 19)
    }

    @Test func localPauseSuspendsConviction() {
        var (detector, now) = steady(100)
        now += 60 * second
        #expect(!detector.convicts(endpoint, now: now))  // before the tick that detects the pause
        #expect(detector.tick(now: now) == 60 * second)
        #expect(detector.phi(endpoint, now: now) > 20 && !detector.convicts(endpoint, now: now))
        #expect(detector.explain(endpoint, now: now)?.description.contains("this process was paused") == true)
        for _ in 0..<4 {
            now += second
            #expect(detector.tick(now: now) == nil && !detector.convicts(endpoint, now: now))
        }
        now += second
        _ = detector.tick(now: now)
        #expect(detector.convicts(endpoint, now: now))
    }

    @Test(arguments: 1...20) func jitteryNodeIsNotConvicted(seed: Int) {
        var random = SeededRandom(seed: UInt64(seed))
        var detector = PhiAccrualDetector()
        var now: Int64 = 0
        var next: Int64 = 0
        for _ in 0..<5_000 {
            now += second / 5
            _ = detector.tick(now: now)
            if now >= next {
                detector.report(endpoint, now: now)
                next = now + Int64(random.below(2_500_000))
            }
            #expect(!detector.convicts(endpoint, now: now), "seed \(seed)")
        }
    }
}
