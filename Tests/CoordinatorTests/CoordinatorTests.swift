import Coordinator
import DataModel
import Synchronization
import Testing

@Suite struct HybridClockTests {
    @Test func monotonicWhenTheWallClockStepsBack() {
        let times = Mutex<[Int64]>([100, 100, 50, 200, 150])
        let clock = HybridClock(wallClock: { times.withLock { $0.removeFirst() } })
        #expect((0..<5).map { _ in clock.next() } == [100, 101, 102, 200, 201])
    }

    @Test func observeIgnoresTimestampsFarAhead() {
        let clock = HybridClock(maximumSkewMicroseconds: 1000, wallClock: { 5000 })
        #expect(clock.observe(6000))
        #expect(clock.next() == 6001)
        #expect(!clock.observe(7000))
        #expect(clock.next() == 6002)
        #expect(clock.observe(10))
        #expect(clock.next() == 6003)
    }

    @Test func timestampsAreUniqueAcrossThreads() async {
        let clock = HybridClock(wallClock: { 1 })
        let all = await withTaskGroup(of: [Int64].self) { group in
            for _ in 0..<4 { group.addTask { (0..<2000).map { _ in clock.next() } } }
            return await group.reduce(into: []) { $0 += $1 }
        }
        #expect(Set(all).count == 8000)
    }
}

@Suite struct ConsistencyTests {
    let simple3 = Replication(
        options: ["class": "org.apache.cassandra.locator.SimpleStrategy", "replication_factor": "3"], dataCenter: "dc1")
    let network = Replication(
        options: ["class": "NetworkTopologyStrategy", "dc1": "3", "dc2": "5/1"], dataCenter: "dc1")

    @Test func replicationFactorsOfOptions() {
        #expect(simple3 == Replication(total: 3, local: 3, dataCenters: [:]))
        #expect(network == Replication(total: 8, local: 3, dataCenters: ["dc1": 3, "dc2": 5]))
        let expanded = Replication(
            options: ["class": "NetworkTopologyStrategy", "replication_factor": "2"], dataCenter: "dc1")
        #expect(expanded == Replication(total: 2, local: 2, dataCenters: ["dc1": 2]))
        #expect(Replication(options: ["class": "LocalStrategy"], dataCenter: "dc1") == .here)
    }

    @Test func requiredReplicas() {
        let expected: [(Consistency, Int, Int)] = [
            (.any, 1, 1), (.one, 1, 1), (.localOne, 1, 1), (.two, 2, 2), (.three, 3, 3), (.quorum, 2, 5), (.all, 3, 8),
            (.localQuorum, 2, 2), (.eachQuorum, 2, 5), (.serial, 2, 5), (.localSerial, 2, 2),
        ]
        for (level, simple, multi) in expected {
            #expect(ConsistencyCheck.required(level, simple3) == simple, "\(level)")
            #expect(ConsistencyCheck.required(level, network) == multi, "\(level)")
        }
    }

    @Test func forbiddenLevelsAndTooFewReplicasAreRefused() throws {
        try ConsistencyCheck.check(.one, simple3, alive: 1, for: .read)
        try ConsistencyCheck.check(.quorum, .here, alive: 1, for: .read)
        try ConsistencyCheck.check(.any, .here, alive: 0, for: .write)
        #expect {
            try ConsistencyCheck.check(.quorum, simple3, alive: 1, for: .write)
        } throws: {
            ($0 as? ServerError)?.detail == .unavailable(consistency: .quorum, required: 2, alive: 1)
        }
        #expect(throws: ServerError.self) { try ConsistencyCheck.check(.two, .here, alive: 1, for: .read) }
        #expect(throws: ServerError.invalid("ANY ConsistencyLevel is only supported for writes")) {
            try ConsistencyCheck.check(.any, .here, alive: 1, for: .read)
        }
        #expect(throws: ServerError.invalid("You must use conditional updates for serializable writes")) {
            try ConsistencyCheck.check(.serial, .here, alive: 1, for: .write)
        }
        #expect(throws: ServerError.invalid("Counter operations are inherently non-serializable")) {
            try ConsistencyCheck.check(.localSerial, .here, alive: 1, for: .counterWrite(table: "c"))
        }
        #expect(
            throws: ServerError.invalid(
                "Invalid consistency for conditional update. Must be one of SERIAL or LOCAL_SERIAL")
        ) {
            try ConsistencyCheck.checkSerial(.one, .here, alive: 1)
        }
    }
}
