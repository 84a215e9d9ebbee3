import DataModel
import Primitives

extension Block {
    /// What `find` found: the value of the first entry whose key is not below the one asked for.
    struct Found {
        let value: UnsafeRawBufferPointer
        let isExact: Bool
    }

    /// A varint of an entry's head, and the pointer past it. Unchecked: `init` has walked all entries.
    @inline(__always) static func varint(_ p: inout UnsafeRawPointer) -> Int {
        var byte = p.load(as: UInt8.self)
        p += 1
        if byte < 0x80 { return Int(byte) }
        var result = Int(byte & 0x7f)
        var shift = 7
        repeat {
            byte = p.load(as: UInt8.self)
            p += 1
            result |= Int(byte & 0x7f) << shift
            shift += 7
        } while byte >= 0x80
        return result
    }

    /// Finds the first entry whose key is not below `key`, without building any key; nil past the end.
    ///
    /// 1. Binary search over the restarts for the last whose key is below `key`.
    /// 2. From there to the next restart, remember how many bytes the last entry had in common with `key` while still being below it. An entry
    ///    that shares more with its predecessor is below too; one that shares less is above; only one that shares as much needs comparing.
    /// 3. The next restart's key is not below `key`, and is stored whole: it is what was asked for, or the first above it.
    func find(_ key: UnsafeRawBufferPointer) -> Found? {
        guard restartCount > 0 else { return nil }
        let base = UnsafeRawPointer(base)
        let low = restartBelow(key)
        var p = base + restart(low)
        let end = base + (low + 1 < restartCount ? restart(low + 1) : entriesEnd)
        var common = 0
        while p < end {
            let shared = Block.varint(&p)
            let unshared = Block.varint(&p)
            let valueCount = Block.varint(&p)
            let value = UnsafeRawBufferPointer(start: p + unshared, count: valueCount)
            if shared < common { return Found(value: value, isExact: false) }
            if shared == common {
                // The entry's key is key[0..<shared] and its suffix.
                let limit = min(unshared, key.count - shared)
                var same = 0
                while same < limit && (p + same).load(as: UInt8.self) == key[shared + same] { same += 1 }
                common = shared + same
                if same == unshared {
                    if common == key.count { return Found(value: value, isExact: true) }
                } else if common == key.count || (p + same).load(as: UInt8.self) > key[common] {
                    return Found(value: value, isExact: false)
                }
            }
            p = value.baseAddress.unsafelyUnwrapped + valueCount
        }
        guard low + 1 < restartCount else { return nil }
        _ = Block.varint(&p)
        let count = Block.varint(&p)
        let valueCount = Block.varint(&p)
        let isExact = compareBytes(UnsafeRawBufferPointer(start: p, count: count), key) == 0
        return Found(value: UnsafeRawBufferPointer(start: p + count, count: valueCount), isExact: isExact)
    }
}
