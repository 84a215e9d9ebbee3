import Synchronization

/// A cache of recently read blocks, limited by bytes.
///
/// 1. A block is found by the number of its sstable and its offset.
/// 2. Eviction is CLOCK: a hand circles over the blocks, spares once a block that was used since its last visit, and
///    evicts others until the new block fits.
/// 3. An evicted block stays alive while it is in use; its bytes no longer count.
///
/// **Thread safety**: all methods, from any thread; 16 parts with a lock each.
public final class BlockCache: Sendable {
    struct Key: Equatable {
        let table: UInt32
        let offset: Int

        /// A hash whose high bits choose the part and whose low bits choose the place.
        @inline(__always) var hash: UInt64 {
            let mixed = (UInt64(table) << 40 ^ UInt64(truncatingIfNeeded: offset)) &* 0x9e37_79b9_7f4a_7c15
            return mixed ^ mixed >> 32
        }
    }

    private struct Slot {
        let key: Key
        let block: Block
        var used: Bool
    }

    /// One of the 16 parts, each with its own lock.
    ///
    /// `places` is a hash table with open addressing: each place has the number of a slot plus one, or 0. It is at most
    /// half full. Removal leaves no tombstones: displaced entries move back.
    private struct Part {
        var places: [UInt32] = Array(repeating: 0, count: 16)
        var slots: [Slot] = []
        var hand = 0
        var bytes = 0
        var hits = 0
        var misses = 0
        var limit = 0

        /// Returns the place of a key, or the free place where it would be inserted.
        @inline(__always) func place(_ key: Key) -> Int {
            let mask = places.count - 1
            var place = Int(truncatingIfNeeded: key.hash) & mask
            while places[place] != 0, slots[Int(places[place]) - 1].key != key { place = (place + 1) & mask }
            return place
        }

        mutating func append(_ slot: Slot) {
            slots.append(slot)
            bytes += slot.block.memoryBytes
            if slots.count * 2 <= places.count {
                places[place(slot.key)] = UInt32(slots.count)
                return
            }
            places = Array(repeating: 0, count: places.count * 2)
            for index in slots.indices { places[place(slots[index].key)] = UInt32(index + 1) }
        }

        mutating func drop(_ index: Int) {
            let gone = slots[index]
            bytes -= gone.block.memoryBytes
            free(place(gone.key))
            let last = slots.count - 1
            if index < last {
                places[place(slots[last].key)] = UInt32(index + 1)
                slots[index] = slots[last]
            }
            slots.removeLast()
        }

        /// Frees a place and moves displaced entries behind it back.
        private mutating func free(_ place: Int) {
            let mask = places.count - 1
            var hole = place
            var next = (hole + 1) & mask
            while places[next] != 0 {
                let home = Int(truncatingIfNeeded: slots[Int(places[next]) - 1].key.hash) & mask
                if (next - home) & mask >= (next - hole) & mask {
                    places[hole] = places[next]
                    hole = next
                }
                next = (next + 1) & mask
            }
            places[hole] = 0
        }
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

    @inline(__always) private func part(_ key: Key) -> LockedPart { parts[Int(key.hash >> 60)] }

    func find(_ key: Key) -> Block? {
        part(key).state.withLock { part in
            let number = Int(part.places[part.place(key)])
            guard number > 0 else {
                part.misses += 1
                return nil
            }
            part.hits += 1
            part.slots[number - 1].used = true
            return part.slots[number - 1].block
        }
    }

    func insert(_ key: Key, _ block: Block) {
        part(key).state.withLock { part in
            guard part.places[part.place(key)] == 0, block.memoryBytes <= part.limit else { return }
            while part.bytes + block.memoryBytes > part.limit && !part.slots.isEmpty {
                if part.hand >= part.slots.count { part.hand = 0 }
                if part.slots[part.hand].used {
                    part.slots[part.hand].used = false
                    part.hand += 1
                } else {
                    part.drop(part.hand)
                }
            }
            part.append(Slot(key: key, block: block, used: false))
        }
    }

    /// Removes all blocks of an sstable that was deleted.
    func remove(table: UInt32) {
        for locked in parts {
            locked.state.withLock { part in
                var at = 0
                while at < part.slots.count {
                    if part.slots[at].key.table == table { part.drop(at) } else { at += 1 }
                }
            }
        }
    }

    /// Bytes and blocks held, and the hits and misses since the start.
    public func counts() -> (bytes: Int, blocks: Int, hits: Int, misses: Int) {
        parts.reduce((0, 0, 0, 0)) { sum, locked in
            locked.state.withLock { (sum.0 + $0.bytes, sum.1 + $0.slots.count, sum.2 + $0.hits, sum.3 + $0.misses) }
        }
    }
}
