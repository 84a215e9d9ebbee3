import Primitives

/// A decoded view of an engine key; `KeyFormat.md` has its grammar.
///
/// SAFETY: borrows the key's bytes.
public struct KeyView {
    /// Part of the file format; do not change.
    public static let staticKind: UInt8 = 0x10
    /// Part of the file format; do not change.
    public static let rowKind: UInt8 = 0x20
    /// Bytes before the serialized partition key: token and length.
    public static let partitionHeaderBytes = 10

    public let bytes: UnsafeRawBufferPointer
    /// The length of the partition part, with token and length field, in bytes; the whole key if it is shorter.
    public let partitionCount: Int

    @inline(__always) public init(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
        partitionCount = KeyView.partitionCount(of: bytes)
    }

    /// Returns the length of a key's partition part, which all keys of the partition share, in bytes.
    @inline(__always) public static func partitionCount(of key: UnsafeRawBufferPointer) -> Int {
        guard key.count >= partitionHeaderBytes else { return key.count }
        let length = Int(key.loadUnaligned(fromByteOffset: 8, as: UInt16.self).bigEndian)
        return min(key.count, partitionHeaderBytes + length)
    }

    /// Returns the length of a key's partition part, in bytes; nil when the key ends inside it.
    @inline(__always) static func wholePartitionCount(of key: UnsafeRawBufferPointer) -> Int? {
        guard key.count >= partitionHeaderBytes else { return nil }
        let count = partitionHeaderBytes + Int(key.loadUnaligned(fromByteOffset: 8, as: UInt16.self).bigEndian)
        return key.count >= count ? count : nil
    }

    /// Whether the bytes are exactly the partition part of a key.
    public static func isPartition(_ bytes: UnsafeRawBufferPointer) -> Bool {
        wholePartitionCount(of: bytes) == bytes.count
    }

    /// Whether the bytes are the key of a row or of a static row: a whole partition part and a kind. Clustering
    /// components are not checked: that takes the table's types.
    @inline(__always) static func isRowKey(_ key: UnsafeRawBufferPointer) -> Bool {
        guard let count = wholePartitionCount(of: key), key.count > count else { return false }
        let kind = key[count]
        return kind == rowKind || (kind == staticKind && key.count == count + 1)
    }

    /// Whether `start ..< end` holds keys, and only keys of one partition.
    @inline(__always) static func isRangeOfOnePartition(
        _ start: UnsafeRawBufferPointer, _ end: UnsafeRawBufferPointer
    ) -> Bool {
        guard let count = wholePartitionCount(of: start), end.count >= count, compareBytes(start, end) < 0 else {
            return false
        }
        return compareBytes(
            UnsafeRawBufferPointer(rebasing: start[..<count]), UnsafeRawBufferPointer(rebasing: end[..<count])) == 0
    }

    /// The partition's token.
    public var token: Int64 {
        guard bytes.count >= 8 else { return .min }
        return Int64(bitPattern: bytes.loadUnaligned(as: UInt64.self).bigEndian ^ (1 << 63))
    }

    /// The partition part of the key, which all keys of the partition share.
    public var partition: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: bytes[..<partitionCount]) }

    /// The serialized partition key: the bytes the token is computed from.
    public var serializedPartitionKey: UnsafeRawBufferPointer {
        guard partitionCount >= KeyView.partitionHeaderBytes else {
            return UnsafeRawBufferPointer(start: nil, count: 0)
        }
        return UnsafeRawBufferPointer(rebasing: bytes[KeyView.partitionHeaderBytes..<partitionCount])
    }

    public var isStatic: Bool { bytes.count > partitionCount && bytes[partitionCount] == KeyView.staticKind }
    public var isRow: Bool { bytes.count > partitionCount && bytes[partitionCount] == KeyView.rowKind }

    /// The encoded clustering components.
    public var clustering: UnsafeRawBufferPointer {
        guard bytes.count > partitionCount else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        return UnsafeRawBufferPointer(rebasing: bytes[(partitionCount + 1)...])
    }
}
