import Primitives

/// The values bound to the markers of one request, in one buffer.
///
/// A connection keeps one and refills it, so binding allocates nothing once its memory has grown to what the requests need.
public struct ValueList: Sendable {
    /// What a marker was bound to. Null, unset and empty differ.
    public enum Entry: Sendable, Equatable {
        case null
        case unset
        /// Where the native-protocol bytes of the value stand in `bytes`.
        case value(Range<Int>)
    }

    public private(set) var bytes: [UInt8] = []
    public private(set) var entries: [Entry] = []
    /// The names of the values, when the request named them; else empty.
    public private(set) var names: [String] = []

    public init() {}

    public var count: Int { entries.count }
    public var isEmpty: Bool { entries.isEmpty }

    public mutating func removeAll() {
        bytes.removeAll(keepingCapacity: true)
        entries.removeAll(keepingCapacity: true)
        names.removeAll(keepingCapacity: true)
    }

    public mutating func append(_ value: UnsafeRawBufferPointer) {
        let start = bytes.count
        bytes.append(contentsOf: value)
        entries.append(.value(start..<bytes.count))
    }

    public mutating func append(_ value: [UInt8]) { value.withUnsafeBytes { append($0) } }
    public mutating func appendNull() { entries.append(.null) }
    public mutating func appendUnset() { entries.append(.unset) }
    /// Names the value appended next.
    public mutating func appendName(_ name: String) { names.append(name) }

    /// The value's bytes, copied; nil when null or unset.
    public func array(_ index: Int) -> [UInt8]? {
        guard case .value(let range) = entries[index] else { return nil }
        return Array(bytes[range])
    }
}
