import Primitives

/// The value of a counter cell: one shard per node that counted, ordered by node id.
///
///     value := shard*        shard := node (16 bytes) clock (8, big-endian) count (8, big-endian)
///
/// Each node only raises its own clock, so of two shards of one node the one with the higher clock includes the other.
public enum CounterValue {
    public static let shardBytes = 32

    /// Returns the sum over all shards.
    public static func total(_ value: UnsafeRawBufferPointer) -> Int64 {
        var sum: Int64 = 0
        var offset = 0
        while value.count - offset >= shardBytes {
            sum &+= Int64(bigEndian: value.loadUnaligned(fromByteOffset: offset + 24, as: Int64.self))
            offset += shardBytes
        }
        return sum
    }

    /// Merges the shards of two values; of one node's shards the one with the higher clock wins, then the one with the
    /// greater count.
    public static func merge(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer, into out: inout ByteWriter) {
        var i = 0
        var j = 0
        while a.count - i >= shardBytes || b.count - j >= shardBytes {
            let left = UnsafeRawBufferPointer(rebasing: a[i..<max(i, min(a.count, i + shardBytes))])
            let right = UnsafeRawBufferPointer(rebasing: b[j..<max(j, min(b.count, j + shardBytes))])
            let order: Int
            if left.count < shardBytes {
                order = 1
            } else if right.count < shardBytes {
                order = -1
            } else {
                order = compareBytes(
                    UnsafeRawBufferPointer(rebasing: left[..<16]), UnsafeRawBufferPointer(rebasing: right[..<16]))
            }
            if order < 0 {
                out.write(left)
                i += shardBytes
            } else if order > 0 {
                out.write(right)
                j += shardBytes
            } else {
                let l = (clock(left), count(left))
                let r = (clock(right), count(right))
                out.write(l >= r ? left : right)
                i += shardBytes
                j += shardBytes
            }
        }
    }

    /// Returns the shard of `node`; zeros when there is none.
    public static func shard(of node: UUID, in value: UnsafeRawBufferPointer) -> (clock: Int64, count: Int64) {
        var offset = 0
        while value.count - offset >= shardBytes {
            let one = UnsafeRawBufferPointer(rebasing: value[offset..<offset + shardBytes])
            if one.loadUnaligned(as: UInt64.self).bigEndian == node.high
                && one.loadUnaligned(fromByteOffset: 8, as: UInt64.self).bigEndian == node.low
            {
                return (clock(one), count(one))
            }
            offset += shardBytes
        }
        return (0, 0)
    }

    private static func clock(_ shard: UnsafeRawBufferPointer) -> Int64 {
        Int64(bigEndian: shard.loadUnaligned(fromByteOffset: 16, as: Int64.self))
    }

    private static func count(_ shard: UnsafeRawBufferPointer) -> Int64 {
        Int64(bigEndian: shard.loadUnaligned(fromByteOffset: 24, as: Int64.self))
    }
}
