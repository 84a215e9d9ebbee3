import Primitives

/// Engine keys from `start` up to, not including, `end`, in memcmp order.
public struct KeyRange: Sendable, Equatable {
    public var start: [UInt8]
    public var end: [UInt8]

    public init(start: [UInt8], end: [UInt8]) {
        self.start = start
        self.end = end
    }

    /// Everything.
    public static let all = KeyRange(start: [], end: [UInt8](repeating: 0xff, count: 12))

    /// Every key that begins with `prefix`.
    public static func prefix(_ prefix: [UInt8]) -> KeyRange { KeyRange(start: prefix, end: prefix + [0xff]) }

    /// The partitions whose tokens lie in `after < token <= through`; `after == Int64.min` begins at the ring's start.
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
