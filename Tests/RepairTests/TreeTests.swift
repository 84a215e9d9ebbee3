import DataModel
import Messages
import ModelReplica
import Primitives
import Testing

@testable import Repair

@Suite struct TreeTests {
    private static func command(
        _ tokens: TokenSlice = Int64.min...Int64.max, depth: Int = 4, gcBefore: UInt32 = 0, now: UInt32 = Sample.now
    ) -> TreeCommand { TreeCommand(table: Sample.table, tokens: tokens, depth: depth, gcBefore: gcBefore, now: now) }

    private static func replica(_ mutations: [[UInt8]]) -> ModelReplica {
        var replica = ModelReplica()
        for mutation in mutations { replica.apply(mutation) }
        return replica
    }

    // MARK: Tokens

    @Test func leavesDivideTheTokensInOrder() {
        for (tokens, depth) in [
            (Int64.min...Int64.max, 15), (Int64.min...Int64.max, 0), (Int64(-7)...100, 4),
            (Int64.max - 30...Int64.max, 3),
            (Int64.min...(Int64.min + 12_345_678_901), 10), (Int64(5)...5, 6), (Int64(5)...7, 6),
            (Int64.min + 1...Int64.max, 7),
        ] {
            let tree = MerkleTree(tokens: tokens, depth: depth)
            var next = tokens.lowerBound
            for index in tree.leaves.indices {
                let leaf = tree.tokens(ofLeaf: index)
                #expect(leaf.lowerBound == next)
                #expect(tree.leafIndex(of: leaf.lowerBound) == index)
                #expect(tree.leafIndex(of: leaf.upperBound) == index)
                next = leaf.upperBound &+ 1
            }
            #expect(next == tokens.upperBound &+ 1)
            #expect(tree.depth <= depth)
        }
        #expect(MerkleTree(tokens: 5...7, depth: 6).leaves.count == 2)
    }

    @Test func partsConsistOfWholeLeaves() {
        let builder = TreeBuilder(Self.command(-1000...999_999, depth: 10))
        let parts = builder.parts(atMost: 128)
        #expect(parts.count == 128)
        let tree = builder.finish()
        for (index, part) in parts.enumerated() {
            #expect(part.lowerBound == tree.tokens(ofLeaf: index * 8).lowerBound)
            #expect(part.upperBound == tree.tokens(ofLeaf: index * 8 + 7).upperBound)
        }
    }

    @Test func keyRangeOfASliceCoversItsTokens() {
        for slice in [Int64.min...Int64.max, Int64.min...0, 1...Int64.max, 5...5, (Int64.min + 1)...(-3)] {
            for token in [Int64.min, .min + 1, -3, -2, 0, 1, 4, 5, 6, .max] {
                let key = Sample.key(token, [255, 255])
                #expect(
                    key.withUnsafeBytes { slice.keys.contains($0) } == slice.contains(token), "\(token) in \(slice)")
            }
        }
    }

    // MARK: Differences

    @Test func everyKindOfDifferenceIsDetected() {
        let key = Sample.key(42)
        func cell(_ value: UInt8, at timestamp: Int64 = 10, ttl: UInt32 = 0, expires: UInt32 = .max, column: Int = 0)
            -> [UInt8]
        {
            Sample.row(key) { out in
                [value].withUnsafeBytes {
                    out.cell(column: column, timestamp: timestamp, ttl: ttl, expires: expires, value: $0)
                }
            }
        }
        func path(_ path: UInt8, _ value: UInt8) -> [UInt8] {
            Sample.row(key) { out in
                [path].withUnsafeBytes { path in
                    [value].withUnsafeBytes { out.cell(column: 5, path: path, timestamp: 10, value: $0) }
                }
            }
        }
        func counter(_ node: Int, _ clock: Int64, _ count: Int64) -> [UInt8] {
            Sample.row(key, liveness: false) { out in
                Sample.shard(node, clock: clock, count: count).withUnsafeBytes {
                    out.cell(column: 9, timestamp: 10, value: $0, isCounter: true)
                }
            }
        }
        let deletion = DeletionTime(timestamp: 5, localDeletion: Sample.now)
        let kinds: [(String, [UInt8])] = [
            ("nothing", []), ("a cell", cell(1)), ("another value", cell(2)), ("another timestamp", cell(1, at: 11)),
            ("another column", cell(1, column: 1)), ("a time to live", cell(1, ttl: 10, expires: Sample.now + 5)),
            ("one as long that was longer", cell(1, ttl: 11, expires: Sample.now + 5)),
            ("a longer one", cell(1, ttl: 10, expires: Sample.now + 6)),
            ("one that has ended", cell(1, ttl: 10, expires: Sample.now - 5)),
            ("a row without cells", Sample.row(key)),
            ("one that ends", Sample.row(key, ttl: 9, expires: Sample.now + 5)),
            ("a row's deletion", Sample.row(key, at: .min, liveness: false, deletion: deletion)),
            ("a dead cell", Sample.row(key, liveness: false) { $0.tombstone(column: 0, deletion: deletion) }),
            (
                "a dead collection",
                Sample.row(key, liveness: false) { $0.complexDeletion(column: 5, deletion: deletion) }
            ),
            ("an element", path(1, 1)), ("another element", path(2, 1)), ("another value of it", path(1, 2)),
            (
                "a dead element",
                Sample.row(key, liveness: false) { out in
                    [1].withUnsafeBytes { out.tombstone(column: 5, path: $0, deletion: deletion) }
                }
            ),
            ("a counter", counter(0, 1, 1)), ("counted by another", counter(1, 1, 1)), ("counted on", counter(0, 2, 2)),
            ("a slice's deletion", Sample.deleteRange(key, key + [5], at: 5)),
            ("a longer slice's", Sample.deleteRange(key, key + [6], at: 5)),
            ("a later one", Sample.deleteRange(key, key + [5], at: 6)),
            ("one of another clock", Sample.deleteRange(key, key + [5], at: 5, local: Sample.now - 1)),
            ("a partition's deletion", Sample.deleteRange(Sample.partition(42), Sample.partition(42) + [0xff], at: 5)),
            ("another row", Sample.put(Sample.key(42, [2]), [1])),
        ]
        let trees = kinds.map { Self.replica([$0.1]).tree(Self.command()) }
        let leaf = trees[0].tokens(ofLeaf: trees[0].leafIndex(of: 42))
        for (i, one) in trees.enumerated() {
            for (j, other) in trees.enumerated() {
                #expect(one.differences(from: other) == (i == j ? [] : [leaf]), "\(kinds[i].0) and \(kinds[j].0)")
            }
        }
    }

    @Test func hashDoesNotDependOnARowsEncoding() {
        let key = Sample.key(7)
        func cells(_ base: Int64) -> [UInt8] {
            Sample.row(key, at: base, liveness: false) { out in
                [1].withUnsafeBytes { out.cell(column: 0, timestamp: 5, value: $0) }
                [2].withUnsafeBytes { out.cell(column: 1, timestamp: 6, value: $0) }
            }
        }
        let one = Self.replica([cells(5)]).tree(Self.command())
        #expect(!one.isEmpty)
        #expect(Self.replica([cells(6)]).tree(Self.command()).differences(from: one).isEmpty)
        // A cell that was deleted, and one that never existed.
        let deleted = [
            Sample.put(key, [1], at: 3), Sample.deleteRange(Sample.partition(7), Sample.partition(7) + [0xff], at: 4),
        ]
        #expect(
            Self.replica(deleted).tree(Self.command()).differences(
                from: Self.replica([deleted[1]]).tree(Self.command())
            ).isEmpty)
        // A range deletion in one piece and in two.
        let (a, b, c) = (Sample.key(7, [1]), Sample.key(7, [3]), Sample.key(7, [9]))
        let whole = Self.replica([Sample.deleteRange(a, c, at: 4)]).tree(Self.command())
        let pieces = Self.replica([Sample.deleteRange(b, c, at: 4), Sample.deleteRange(a, b, at: 4)]).tree(
            Self.command())
        #expect(whole.differences(from: pieces).isEmpty)
    }

    @Test func purgeableDeletionsAreLeftOut() {
        let key = Sample.key(7)
        let old = Sample.now - 100
        let deletion = DeletionTime(timestamp: 5, localDeletion: old)
        let forgotten = [
            Sample.row(key, at: .min, liveness: false, deletion: deletion),
            Sample.row(key, liveness: false) { $0.tombstone(column: 0, deletion: deletion) },
            Sample.row(key, liveness: false) { $0.complexDeletion(column: 5, deletion: deletion) },
            Sample.row(key, ttl: 10, expires: old), Sample.deleteRange(key, key + [1], at: 5, local: old),
            Sample.row(key, liveness: false) { out in
                [1].withUnsafeBytes { out.cell(column: 0, timestamp: 5, ttl: 3, expires: old, value: $0) }
            },
        ]
        for mutation in forgotten {
            #expect(Self.replica([mutation]).tree(Self.command(gcBefore: old + 1)).isEmpty)
            #expect(!Self.replica([mutation]).tree(Self.command(gcBefore: old)).isEmpty)
        }
    }

    @Test func adjacentDifferingLeavesAreJoined() {
        let command = Self.command(0...1599, depth: 4)
        let whole = Self.replica((0..<16).map { Sample.put(Sample.key(Int64($0 * 100)), [1]) })
        func without(_ leaves: Set<Int>) -> MerkleTree {
            Self.replica((0..<16).filter { !leaves.contains($0) }.map { Sample.put(Sample.key(Int64($0 * 100)), [1]) })
                .tree(command)
        }
        let tree = whole.tree(command)
        #expect(tree.rows == 16)
        #expect(tree.differences(from: without([0, 1, 5, 15])) == [0...199, 500...599, 1500...1599])
        #expect(tree.differences(from: without(Set(0..<16))) == [0...1599])
        #expect(
            MerkleTree.differences(among: [tree, without([3]), without([3, 4, 9]), tree, without([4])])
                == [
                    TreeDifference(tokens: 300...399, groups: [0, 1, 1, 0, 0]),
                    TreeDifference(tokens: 400...499, groups: [0, 0, 1, 0, 1]),
                    TreeDifference(tokens: 900...999, groups: [0, 0, 1, 0, 0]),
                ])
        #expect(
            MerkleTree.differences(among: [without([3]), without([3, 4]), without([4])]).map(\.firsts) == [
                [0, 2], [0, 1],
            ])
    }

    /// Trees differ exactly where contents differ.
    @Test(arguments: 0..<200) func leavesDifferExactlyWhereTheDataDiffers(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let tokens = (0..<24).map { Int64($0 * 10) }
        var (one, other) = (ModelReplica(), ModelReplica())
        for step in 0..<40 {
            let mutation = Sample.random(&random, tokens: tokens, step: step)
            let missed = random.next() % 10
            if missed != 0 { one.apply(mutation) }
            if missed != 1 { other.apply(mutation) }
        }
        let command = Self.command(0...255, depth: 4)
        let trees = (one.tree(command), other.tree(command))
        for index in trees.0.leaves.indices {
            let range = trees.0.tokens(ofLeaf: index).keys
            func contents(_ replica: ModelReplica) -> ReadAnswer {
                replica.answer(
                    ReadCommand(table: Sample.table, range: range, rowLimit: 1000, gcBefore: 0, now: Sample.now))
            }
            let isSame = contents(one).digest == contents(other).digest
            #expect(trees.0.leaves[index].isSame(as: trees.1.leaves[index]) == isSame, "leaf \(index)")
        }
    }

    @Test func depthDependsOnTheNumberOfPartitions() {
        #expect(MerkleTree.depth(partitions: nil) == 12)
        #expect(MerkleTree.depth(partitions: 0) == MerkleTree.smallestDepth)
        #expect(MerkleTree.depth(partitions: 1000) == 10)
        #expect(MerkleTree.depth(partitions: 1 << 40) == MerkleTree.largestDepth)
    }
}
