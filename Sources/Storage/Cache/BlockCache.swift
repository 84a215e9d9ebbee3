import Synchronization

/// Blocks read lately, up to a number of bytes.
///
/// 1. A block is found by its table's number and its offset.
/// 2. When room is needed, a hand goes round: a block used since it last passed is spared once, another is dropped (CLOCK).
/// 3. A block in use stays alive after it is dropped; its bytes no longer count.
///
/// **Thread safety**: all methods, from any thread; 16 locks.
public final class BlockCache: Sendable {
    struct Key: Hashable {
        let table: UInt32
        let offset: Int
    }

    private struct Slot {
        var key: Key
        var block: Block
        var used: Bool
    }

    private struct Part {
        var index: [Key: Int] = [:]
        var slots: [Slot] = []
        var hand = 0
        var bytes = 0
        var hits = 0
        var misses = 0
        var limit = 0
    }

    private final class LockedPart: Sendable {
        let state = Mutex(Part())
    }

    private let parts: [LockedPart]
    public let limitBytes: Int

    public init(limitBytes: Int) {
        self.limitBytes = limitBytes
        parts = (0..<16).map { _ in LockedPart() }
        for part in parts { part.state.withLock { $0.limit = limitBytes / 16 } }
    }

    @inline(__always) private func part(_ key: Key) -> LockedPart {
        let mixed = (UInt64(key.table) << 40 ^ UInt64(truncatingIfNeeded: key.offset)) &* 0x9e37_79b9_7f4a_7c15
        return parts[Int(mixed >> 60)]
    }

    func find(_ key: Key) -> Block? {
        part(key).state.withLock { part in
            guard let index = part.index[key] else {
                part.misses += 1
                return nil
            }
            part.hits += 1
            part.slots[index].used = true
            return part.slots[index].block
        }
    }

    func insert(_ key: Key, _ block: Block) {
        part(key).state.withLock { part in
            guard part.index[key] == nil, block.count <= part.limit else { return }
            while part.bytes + block.count > part.limit && !part.slots.isEmpty {
                if part.hand >= part.slots.count { part.hand = 0 }
                if part.slots[part.hand].used {
                    part.slots[part.hand].used = false
                    part.hand += 1
                } else {
                    BlockCache.drop(part.hand, from: &part)
                }
            }
            part.index[key] = part.slots.count
            part.slots.append(Slot(key: key, block: block, used: false))
            part.bytes += block.count
        }
    }

    private static func drop(_ at: Int, from part: inout Part) {
        let gone = part.slots[at]
        part.bytes -= gone.block.count
        part.index[gone.key] = nil
        let last = part.slots.removeLast()
        if at < part.slots.count {
            part.slots[at] = last
            part.index[last.key] = at
        }
    }

    /// Forgets the blocks of a table that is gone.
    func remove(table: UInt32) {
        for locked in parts {
            locked.state.withLock { part in
                var at = 0
                while at < part.slots.count {
                    if part.slots[at].key.table == table { BlockCache.drop(at, from: &part) } else { at += 1 }
                }
            }
        }
    }

    /// Bytes held, and how often a block was there or not since the start.
    public func counts() -> (bytes: Int, blocks: Int, hits: Int, misses: Int) {
        parts.reduce((0, 0, 0, 0)) { sum, locked in
            locked.state.withLock { (sum.0 + $0.bytes, sum.1 + $0.slots.count, sum.2 + $0.hits, sum.3 + $0.misses) }
        }
    }
}
