import DataModel
import Messages
import Primitives
import Synchronization
import Testing

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

    @Test func turnsComeInTheirOrderAndPartitionsDoNotWaitForEachOther() {
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
    @Test func whoLeavesTheQueueIsPassedOver() {
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
    @Test func aRequestHoldsItsTurnUntilItIsOver() throws {
        let turns = PartitionTurns()
        let log = Log()
        final class Runner: StepRunner {
            let turns: PartitionTurns
            var steps: [String] = []
            init(_ turns: PartitionTurns) { self.turns = turns }
            func takeTurn(_ key: PaxosKey, for port: ClusterPort) -> Bool {
                steps.append("turn")
                let (turn, isFirst) = turns.take(key) {}
                port.turn = turn
                return isFirst
            }
            func begin(_ step: Step, for port: ClusterPort) throws(ServerError) -> Outcome? {
                switch step {
                case .prepare:
                    steps.append("prepare")
                    return .ballot(Ballot(timestamp: 5, node: VirtualCluster.id(1)), found: nil)
                case .propose:
                    steps.append("propose")
                    return steps.count < 4 ? .contended : .done
                default: throw .invalid("another step")
                }
            }
        }
        let before = turns.take(Self.key(9), log.grant(1))
        do {
            let runner = Runner(turns)
            let cluster = VirtualCluster(1, seed: 1)
            let port = ClusterPort(
                cluster: cluster.view(0), local: ModelPort(cluster.nodes[0]), runner: runner, consistency: .quorum, serial: .serial,
                pageRows: 0, contentionTimeout: 1_000_000, gcGrace: { _ in 0 }, nowMicroseconds: { 0 }, monotonicMicroseconds: { 0 })
            func attempt() -> ReplicaError? {
                port.rewind()
                do throws(ReplicaError) {
                    try port.withTransaction(table: UUID(high: 1, low: 1), partition: [9], io: .blocking) { true }
                    return nil
                } catch { return error }
            }
            guard case .pending = attempt() else {
                Issue.record("it does not wait")
                return
            }
            before.turn.leave()
            port.turnCame()
            guard case .restart = attempt() else {
                Issue.record("a lost round is not begun anew")
                return
            }
            #expect(attempt() == nil)
            #expect(runner.steps == ["turn", "prepare", "propose", "prepare", "propose"])
            #expect(turns.count == 1)
        }
        #expect(turns.count == 0)
    }
}
