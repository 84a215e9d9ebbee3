import Primitives
import Testing

@testable import Storage

@Suite("Block cache") struct BlockCacheTests {
    static func block(_ number: Int) throws -> Block {
        try BlockFindTests.block([[UInt8](repeating: UInt8(number & 255), count: 40)])
    }

    /// Random inserts, lookups and removals: a hit returns the inserted block, a removed sstable is gone, and the cache
    /// stays within its limit.
    @Test(arguments: 0..<4) func randomHistory(seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed))
        let one = try Self.block(0).memoryBytes
        // A small cache evicts constantly, a large one never.
        let isLarge = seed % 2 == 1
        let cache = BlockCache(limitBytes: isLarge ? 16 << 20 : 16 * 6 * one)
        var model: [[Int]: Block] = [:]
        for _ in 0..<20_000 {
            let place = [Int.random(in: 1...5, using: &random), Int.random(in: 0..<400, using: &random) * 4096]
            let key = BlockCache.Key(table: UInt32(place[0]), offset: place[1])
            switch Int.random(in: 0..<1000, using: &random) {
            case 0..<2:
                cache.remove(table: key.table)
                model = model.filter { $0.key[0] != place[0] }
            case 2..<500:
                if cache.find(key) == nil {
                    let block = try Self.block(place[1])
                    cache.insert(key, block)
                    model[place] = block
                }
            default:
                let found = cache.find(key)
                #expect(found == nil || found === model[place], "seed \(seed) \(place)")
                if isLarge { #expect(found === model[place], "seed \(seed) \(place)") }
            }
        }
        let counts = cache.counts()
        #expect(counts.bytes <= cache.limitBytes && counts.bytes == counts.blocks * one, "seed \(seed)")
        #expect(isLarge ? counts.blocks == model.count : counts.blocks <= 96, "seed \(seed)")
        for table in 1...5 { cache.remove(table: UInt32(table)) }
        #expect(cache.counts().bytes == 0 && cache.counts().blocks == 0)
    }
}
