import DataModel

/// A key and its value in an arena; immutable.
///
///     record := keyCount (4) valueCount (4) key value
///
/// SAFETY: valid as long as the arena.
struct Record {
    let address: UnsafeMutableRawPointer

    @inline(__always) init(_ address: UnsafeMutableRawPointer) { self.address = address }

    @inline(__always) static func make(key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, in arena: Arena)
        -> Record
    {
        let address = arena.allocate(8 + key.count + value.count)
        address.storeBytes(of: UInt32(key.count), as: UInt32.self)
        address.storeBytes(of: UInt32(value.count), toByteOffset: 4, as: UInt32.self)
        if let start = key.baseAddress { (address + 8).copyMemory(from: start, byteCount: key.count) }
        if let start = value.baseAddress { (address + 8 + key.count).copyMemory(from: start, byteCount: value.count) }
        return Record(address)
    }

    @inline(__always) var keyCount: Int { Int(address.load(as: UInt32.self)) }
    @inline(__always) var valueCount: Int { Int(address.load(fromByteOffset: 4, as: UInt32.self)) }
    @inline(__always) var key: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: address + 8, count: keyCount) }
    @inline(__always) var value: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: address + 8 + keyCount, count: valueCount)
    }
}
