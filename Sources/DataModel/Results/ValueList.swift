import Primitives

/// The values bound to one request's bind markers, in one buffer.
///
/// A connection reuses one list, so binding does not allocate once the buffer is large enough.
public struct ValueList: Sendable {
    /// The value of one bind marker. Null, unset and the empty value are different.
    public enum Entry: Sendable, Equatable {
        case null
        case unset
        /// The range in `bytes` of the value's native-protocol bytes.
        case value(Range<Int>)
    }

    public private(set) var bytes: [UInt8] = []
    public private(set) var entries: [Entry] = []
    /// The names of the values, if the request named them; else empty.
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
    /// Sets the name of the value appended next.
    public mutating func appendName(_ name: String) { names.append(name) }

    /// The values, readable without reference counting. Valid only inside `withView`.
    public struct View {
        private let bytes: UnsafeRawBufferPointer
        private let entries: UnsafeBufferPointer<Entry>

        fileprivate init(bytes: UnsafeRawBufferPointer, entries: UnsafeBufferPointer<Entry>) {
            self.bytes = bytes
            self.entries = entries
        }

        /// The bytes of a value; nil when it is null, unset or missing.
        @inline(__always) public func bytes(of index: Int) -> UnsafeRawBufferPointer? {
            guard index < entries.count, case .value(let range) = entries[index] else { return nil }
            return UnsafeRawBufferPointer(rebasing: bytes[range])
        }
    }

    /// SAFETY: the view's pointers are into the two arrays, which `self` keeps alive and unchanged meanwhile.
    @inline(__always) public func withView<R, E: Error>(_ body: (View) throws(E) -> R) throws(E) -> R {
        try bytes.withUnsafeBytesTyped { (bytes) throws(E) -> R in
            let outcome: Result<R, E> = entries.withUnsafeBufferPointer { entries in
                do throws(E) { return .success(try body(View(bytes: bytes, entries: entries))) } catch {
                    return .failure(error)
                }
            }
            return try outcome.get()
        }
    }

    /// Returns a copy of the value's bytes; nil when it is null or unset.
    public func array(_ index: Int) -> [UInt8]? {
        guard case .value(let range) = entries[index] else { return nil }
        return Array(bytes[range])
    }
}
