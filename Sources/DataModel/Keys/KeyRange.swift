import Primitives

/// A half-open range of engine keys in memcmp order: `start` is included, `end` is not.
public struct KeyRange: Sendable, Equatable {
    public var start: [UInt8]
    public var end: [UInt8]

    public init(start: [UInt8], end: [UInt8]) {
        self.start = start
        self.end = end
    }

    /// The range of all keys.
    public static let all = KeyRange(start: [], end: [UInt8](repeating: 0xff, count: 12))

    /// The range of all keys with this prefix.
    public static func prefix(_ prefix: [UInt8]) -> KeyRange { KeyRange(start: prefix, end: prefix + [0xff]) }

    /// The partitions with tokens in `after < token <= through`; `after == Int64.min` means from the ring's start,
    /// inclusive.
    public static func tokens(after: Int64, through: Int64) -> KeyRange {
        func bytes(_ token: Int64) -> [UInt8] {
            let flipped = UInt64(bitPattern: token) ^ (1 << 63)
            return (0..<8).map { UInt8(truncatingIfNeeded: flipped >> UInt64(56 - $0 * 8)) }
        }
        let start = after == .min ? [] : bytes(after) + [0xff, 0xff, 0xff]
        return KeyRange(start: start, end: bytes(through) + [0xff, 0xff, 0xff])
    }

    public var isEmpty: Bool { compareBytes(start, end) >= 0 }

    public func contains(_ key: UnsafeRawBufferPointer) -> Bool {
        start.withUnsafeBytes { compareBytes($0, key) <= 0 } && end.withUnsafeBytes { compareBytes(key, $0) < 0 }
    }
}
