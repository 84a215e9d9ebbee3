import DataModel
import Messages
import Primitives
import Synchronization
import Testing
import VirtualCluster

@testable import Coordinator

@Suite struct PartitionTurnsTests {
    private final class Log: Sendable {
        let granted = Mutex<[Int]>([])
        func grant(_ number: Int) -> @Sendable () -> Void { { self.granted.withLock { $0.append(number) } } }
        var all: [Int] { granted.withLock { $0 } }
    }

    private static func key(_ number: UInt8) -> PaxosKey { PaxosKey(table: UUID(high: 1, low: 1), partition: [number]) }

    private typealias Place = (turn: PartitionTurn, isFirst: Bool)

    private static func takeThree(_ turns: PartitionTurns, _ log: Log) -> (Place, Place, Place) {
        func take(_ number: Int) -> Place { turns.take(key(1), log.grant(number)) }
        return (take(1), take(2), take(3))
    }

    @Test func turnsAreGrantedInOrderForEachPartition() {
        let turns = PartitionTurns()
        let log = Log()
        let (first, second, third) = Self.takeThree(turns, log)
        let other = turns.take(Self.key(2), log.grant(4))
        #expect(first.isFirst && !second.isFirst && !third.isFirst && other.isFirst)
        first.turn.leave()
        #expect(log.all == [2])
        first.turn.leave()
        #expect(log.all == [2])
        second.turn.leave()
        third.turn.leave()
        other.turn.leave()
        #expect(log.all == [2, 3] && turns.count == 0)
    }

    /// A waiter that gives up leaves the middle of the queue and is skipped.
    @Test func waiterThatLeavesIsSkipped() {
        let turns = PartitionTurns()
        let log = Log()
        let (first, second, third) = Self.takeThree(turns, log)
        second.turn.leave()
        #expect(log.all == [])
        first.turn.leave()
        #expect(log.all == [3])
        third.turn.leave()
        #expect(turns.count == 0)
    }

    /// A request that waited begins its round when it is executed again, and releases its turn when it ends.
    @Test func transactionHoldsItsTurnUntilItEnds() throws {
        let turns = PartitionTurns()
        final class Runner: StepRunner {
            let turns: PartitionTurns
            var steps: [String] = []
            init(_ turns: PartitionTurns) { self.turns = turns }
            var view: ClusterView? { nil }
            var now: Int64 { 0 }
            func takeTurn(_ key: PaxosKey) -> PartitionTurn {
                steps.append("turn")
                return turns.take(key) {}.turn
            }
            func rest(attempt: Int) { steps.append("rest \(attempt)") }
            func start(_ started: StartedStep, for request: CoordinatedRequest) {
                switch started.step {
                case .prepare:
                    steps.append("prepare")
                    started.result = .success(.ballot(Ballot(timestamp: 5, node: VirtualCluster.id(1)), found: nil))
                case .propose(_, _, let value, _):
                    steps.append("propose \(value.count)")
                    started.result = .success(steps.count < 4 ? .contended : .done)
                default: started.result = .failure(.invalid("another step"))
                }
            }
            func finish(_ started: StartedStep, for request: CoordinatedRequest) throws(ServerError) -> Outcome {
                guard let result = started.result else { throw .invalid("no result") }
                return try result.get()
            }
        }
        let runner = Runner(turns)
        let cluster = VirtualCluster(1, seed: 1)
        let request = CoordinatedRequest(
            cluster: cluster.view(0), local: ModelPort(cluster.nodes[0]), runner: runner, consistency: .quorum,
            serial: .serial,
            pageRows: 0, contentionTimeout: 1_000_000, gcGrace: { _ in 0 }, nowSeconds: 0)
        var bodies = 0
        try request.withTransaction(table: UUID(high: 1, low: 1), partition: [9], reading: nil) {
            bodies += 1
            #expect(turns.count == 1)
            return true
        }
        #expect(runner.steps == ["turn", "prepare", "propose 0", "rest 1", "prepare", "propose 0"])
        #expect(bodies == 2 && turns.count == 0)
    }
}
