import DataModel
import Primitives
import Testing

@Suite struct RangeDeletionsTests {
    private static let width = 48

    /// Returns the two-byte key of an index.
    private static func key(_ index: Int) -> [UInt8] { [UInt8(index / 16), UInt8(index % 16)] }

    private static func model(_ deletions: RangeDeletions) -> [DeletionTime] {
        (0..<width).map { index in key(index).withUnsafeBytes { deletions.deletion(at: $0) } }
    }

    private static func checkForm(_ deletions: RangeDeletions, canonical: Bool) {
        for (one, next) in zip(deletions.spans, deletions.spans.dropFirst()) {
            #expect(compareBytes(one.end, next.start) <= 0)
            if canonical { #expect(one.end != next.start || one.deletion != next.deletion) }
        }
        for span in deletions.spans { #expect(compareBytes(span.start, span.end) < 0) }
    }

    private static func random(_ random: inout SeededRandom) -> (RangeDeletions, [DeletionTime], [RangeTombstone]) {
        var deletions = RangeDeletions()
        var naive = [DeletionTime](repeating: .none, count: width)
        var added: [RangeTombstone] = []
        for _ in 0..<Int(random.next() % 12) {
            let a = Int(random.next() % UInt64(width))
            let b = Int(random.next() % UInt64(width))
            let deletion = DeletionTime(timestamp: Int64(random.next() % 6), localDeletion: UInt32(random.next() % 3))
            let span = RangeTombstone(start: key(a), end: key(b), deletion: deletion)
            deletions.add(span)
            added.append(span)
            for index in a..<max(a, b) { naive[index] = naive[index].latest(deletion) }
        }
        return (deletions, naive, added)
    }

    @Test(arguments: 0..<400) func rangeDeletionsMatchTheModel(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let (one, naiveOne, added) = Self.random(&random)
        let (other, naiveOther, _) = Self.random(&random)
        Self.checkForm(one, canonical: true)
        #expect(Self.model(one) == naiveOne)
        // The same range tombstones added in another order give equal deletions.
        var again = RangeDeletions()
        for span in added.shuffled(using: &random) { again.add(span) }
        #expect(again == one)

        let a = Int(random.next() % UInt64(Self.width))
        let b = Int(random.next() % UInt64(Self.width))
        let clipped = one.clipped(to: KeyRange(start: Self.key(a), end: Self.key(b)))
        Self.checkForm(clipped, canonical: true)
        #expect(Self.model(clipped) == (0..<Self.width).map { $0 >= a && $0 < b ? naiveOne[$0] : .none })

        let lacking = one.lacking(in: other)
        var missing = RangeDeletions()
        for span in lacking { missing.add(span) }
        #expect(
            Self.model(missing)
                == (0..<Self.width).map {
                    !naiveOne[$0].isNone && naiveOne[$0].supersedes(naiveOther[$0]) ? naiveOne[$0] : .none
                })
        var healed = other
        for span in lacking { healed.add(span) }
        #expect(Self.model(healed) == (0..<Self.width).map { naiveOne[$0].latest(naiveOther[$0]) })
        #expect(one.lacking(in: healed).isEmpty)
    }
}
