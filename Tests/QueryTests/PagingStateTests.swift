import DataModel
import Primitives
import Testing

@testable import Query

@Suite struct PagingStateTests {
    let state = PagingState(fingerprint: 0xfeed_f00d, range: 3, remaining: 41, inPartition: 2, key: Array(0..<40))

    @Test func roundTrip() throws {
        for remaining in [nil, 0, 1, Int(Int32.max)] as [Int?] {
            var other = state
            other.remaining = remaining
            #expect(try PagingState.decode(other.encode(), fingerprint: other.fingerprint) == other)
        }
    }

    /// The checksum is no secret: a client may send any numbers.
    @Test func impossibleNumbersAreRefused() {
        for place in 0..<3 {
            var other = state
            if place == 0 { other.range = .max }
            if place == 1 { other.remaining = Int.max - 1 }
            if place == 2 { other.inPartition = .max }
            #expect(throws: ServerError.self) {
                try PagingState.decode(other.encode(), fingerprint: other.fingerprint)
            }
        }
    }

    @Test func damagedPagingStateIsRefused() {
        let bytes = state.encode()
        for length in 0..<bytes.count {
            #expect(throws: ServerError.self) {
                try PagingState.decode(Array(bytes[..<length]), fingerprint: state.fingerprint)
            }
        }
        for bit in 0..<bytes.count * 8 {
            var flipped = bytes
            flipped[bit / 8] ^= 1 << (bit % 8)
            #expect(throws: ServerError.self) { try PagingState.decode(flipped, fingerprint: state.fingerprint) }
        }
        #expect(throws: ServerError.self) { try PagingState.decode(bytes + [0], fingerprint: state.fingerprint) }
        #expect(throws: ServerError.self) { try PagingState.decode(bytes, fingerprint: 1) }
    }
}
