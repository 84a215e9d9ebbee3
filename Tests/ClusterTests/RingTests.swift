import Messages
import Primitives
import Testing

@testable import Cluster

/// Returns a node whose host id and address follow from its number.
func node(
    _ number: Int, _ tokens: [Int64], dc: String = "dc1", rack: String = "r1", state: NodeState = .normal
) -> RingNode {
    RingNode(
        id: UUID(high: 0, low: UInt64(number)), endpoint: Endpoint(address: "10.0.0.\(number)", port: 7000),
        location: Location(dataCenter: dc, rack: rack), tokens: tokens, state: state)
}

@Suite struct RingTests {
    @Test func tokenBelongsToTheNextNodeClockwise() {
        let ring = Ring(nodes: [node(2, [100]), node(1, [0, 200])])
        #expect(ring.tokens == [0, 100, 200])
        #expect(ring.owner(of: 0)?.id.low == 1)
        #expect(ring.owner(of: 1)?.id.low == 2)
        #expect(ring.owner(of: 100)?.id.low == 2)
        #expect(ring.owner(of: 201)?.id.low == 1)
        #expect(ring.owner(of: Int64.min)?.id.low == 1)
        #expect(ring.range(of: 201) == TokenRange(after: 200, through: 0))
        #expect(
            ring.ranges(of: ring.nodes[0].id) == [
                TokenRange(after: 200, through: 0), TokenRange(after: 100, through: 200),
            ])
        #expect(Ring.empty.owner(of: 1) == nil)
    }

    @Test func rangesWrapAndTheirSlicesDoNot() {
        let range = TokenRange(after: 5, through: -5)
        #expect(range.contains(6) && range.contains(-5) && range.contains(Int64.max) && range.contains(Int64.min))
        #expect(!range.contains(5) && !range.contains(0))
        #expect(range.slices == [Int64.min...(-5), 6...Int64.max])
        #expect(TokenRange(after: Int64.max, through: 3).slices == [Int64.min...3])
        #expect(TokenRange(after: 3, through: Int64.max).slices == [4...Int64.max])
        let whole = TokenRange(after: 7, through: 7)
        #expect(whole.contains(7) && whole.contains(8) && whole.fraction == 1)
        #expect(TokenRange(after: Int64.min, through: 0).fraction == 0.5)
    }

    @Test func claimWithTheGreaterEpochOwnsTheToken() {
        let old = RingNode(
            id: UUID(high: 0, low: 9), endpoint: Endpoint(address: "a", port: 1),
            claims: [TokenClaim(10, epoch: 3), TokenClaim(20, epoch: 0)])
        let new = RingNode(
            id: UUID(high: 0, low: 1), endpoint: Endpoint(address: "b", port: 1), claims: [TokenClaim(10, epoch: 4)])
        let ring = Ring(nodes: [new, old])
        #expect(ring.owner(of: 10)?.id == new.id)
        #expect(ring.claims(heldBy: old.id) == [TokenClaim(20, epoch: 0)])
        #expect(TokenClaim.decode(TokenClaim.encode(old.claims)) == old.claims)
        #expect(TokenClaim.decode([1, 2, 3]) == nil)
        let heirs = [TokenSuccessor(token: -4, heir: new.id), TokenSuccessor(token: 4, heir: old.id)]
        #expect(TokenSuccessor.decode(TokenSuccessor.encode(heirs)) == heirs)
    }

    @Test func gridHasEqualPartitions() throws {
        for count in [1, 2, 8, 256, 65_536] {
            for shift in [0, 1, 1_023] {
                let grid = try #require(TokenGrid(count: count, shift: shift))
                #expect(grid.end(of: count - 1) == Int64.max - Int64(shift))
                let ends = grid.ends
                for index in [0, 1, count / 2, count - 1] where index < count {
                    #expect(grid.index(endingIn: grid.end(of: index)) == index)
                    #expect(grid.index(of: grid.end(of: index)) == index)
                    #expect(grid.index(of: grid.end(of: index) &+ 1) == (index + 1) % count)
                    if count > 1 {
                        let previous = ends[(index + count - 1) % count]
                        #expect(TokenRange(after: previous, through: ends[index]).fraction == 1 / Double(count))
                    }
                }
            }
        }
        #expect(TokenGrid(count: 3) == nil && TokenGrid(count: 0) == nil && TokenGrid(count: 1 << 17) == nil)
        #expect(TokenGrid(count: 8)?.index(endingIn: 5) == nil)
    }
}
