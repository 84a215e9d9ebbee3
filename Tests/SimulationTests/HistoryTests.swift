import Testing

@testable import Simulation

@Suite struct HistoryTests {
    private func written(_ states: [(value: Int?, isAcknowledged: Bool)]) -> VersionedHistory {
        var history = VersionedHistory(name: "it")
        for state in states {
            let version = history.begin(state.value)
            history.ended(version, isAcknowledged: state.isAcknowledged, called: 0, now: 0)
        }
        return history
    }

    @Test func lostWriteIsDetected() {
        var history = written([(1, true), (2, true)])
        #expect(history.saw(2, floor: history.floor, called: 0, now: 0) == nil)
        #expect(history.saw(1, floor: history.floor, called: 0, now: 0) != nil)
        #expect(history.saw(nil, floor: history.floor, called: 0, now: 0) != nil)
    }

    @Test func writeOfUnknownOutcomeMayBeVisibleOrNot() {
        var history = written([(1, true), (2, false)])
        #expect(history.saw(1, floor: history.floor, called: 0, now: 0) == nil)
        #expect(history.saw(2, floor: history.floor, called: 0, now: 0) == nil)
        // A version that was seen once stays visible.
        #expect(history.saw(1, floor: history.floor, called: 0, now: 0)?.promise.contains("version 2") == true)
    }

    @Test func concurrentReadMaySeeTheOldValue() {
        var history = written([(1, true)])
        let floor = history.floor
        history.ended(history.begin(2), isAcknowledged: true, called: 0, now: 0)
        #expect(history.saw(1, floor: floor, called: 0, now: 0) == nil)
    }

    @Test func resurrectedRowIsDetected() {
        var history = written([(1, true), (nil, true)])
        #expect(history.saw(nil, floor: history.floor, called: 0, now: 0) == nil)
        #expect(history.saw(1, floor: history.floor, called: 0, now: 0) != nil)
    }

    @Test func unwrittenValueIsDetected() {
        var history = written([(1, true)])
        #expect(history.saw(7, floor: 0, called: 0, now: 0)?.promise.contains("no write has that value") == true)
    }

    @Test func countersLieBetweenAcknowledgedAndAttemptedSums() {
        var counter = CounterHistory(name: "it")
        counter.begin(3)
        counter.acknowledge(3)
        counter.begin(4)
        #expect(counter.saw(3, floor: 3) == nil)
        #expect(counter.saw(7, floor: 3) == nil)
        #expect(counter.saw(2, floor: 3) != nil)
        #expect(counter.saw(8, floor: 3) != nil)
    }

    @Test func answersOfTheLineProtocol() {
        let rows = LineReply(lines: [
            "C [{\"name\":\"k\",\"type\":\"int\"}]", "R [1,\"a,\\\"]\",[1,2],null]", ". 1 row",
        ])
        #expect(rows?.rows == [["1", "\"a,\\\"]\"", "[1,2]", "null"]])
        #expect(LineReply(lines: [". applied"])?.isApplied == true)
        let failed = LineReply(lines: ["! 1000 Unavailable: too few"])
        #expect(failed?.isRefused == true)
        #expect(failed?.isInvalidRequest == false)
        #expect(LineReply(lines: ["! 2200 Invalid: no"])?.isInvalidRequest == true)
    }
}
