import DataModel
import Primitives

extension Block {
    /// The result of `find`: the value of the first entry whose key is not below the key sought.
    struct Found {
        let value: UnsafeRawBufferPointer
        let isExact: Bool
    }

    /// Reads a varint and advances the pointer past it. Unchecked: `init` has validated all entries.
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

    /// Finds the first entry whose key is not below `key`, without decoding any key; nil past the end.
    ///
    /// 1. Binary search over the restarts for the last one whose key is below `key`.
    /// 2. Walk to the next restart, tracking how many bytes the last entry, which is below `key`, has in common with
    ///    `key`. An entry that shares more bytes with its predecessor is below `key` too; one that shares fewer is
    ///    above; only one that shares as many needs comparing.
    /// 3. If none matched, the next restart's key, which is stored whole, is the first not below `key`.
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
                // The entry's key is `key[0..<shared]` followed by its suffix.
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
