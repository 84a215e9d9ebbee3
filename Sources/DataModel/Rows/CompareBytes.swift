#if canImport(Glibc)
    import Glibc
#endif

/// memcmp over both, the shorter first when one begins with the other: negative, zero, positive.
@inline(__always) public func compareBytes(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Int {
    let common = min(a.count, b.count)
    if common > 0 {
        let order = memcmp(a.baseAddress.unsafelyUnwrapped, b.baseAddress.unsafelyUnwrapped, common)
        if order != 0 { return Int(order) }
    }
    return a.count - b.count
}

/// memcmp over two arrays.
public func compareBytes(_ a: [UInt8], _ b: [UInt8]) -> Int {
    a.withUnsafeBytes { left in b.withUnsafeBytes { right in compareBytes(left, right) } }
}

/// 8 bytes of a key from `skip` on, zeros past its end, as a number: of keys that begin with the same `skip` bytes, the lesser number has the lesser key.
@inline(__always) public func keyWord(_ key: UnsafeRawBufferPointer, skip: Int) -> UInt64 {
    let left = key.count - skip
    if left >= 8 { return key.loadUnaligned(fromByteOffset: skip, as: UInt64.self).bigEndian }
    var word: UInt64 = 0
    var index = 0
    while index < left {
        word |= UInt64(key[skip + index]) << UInt64(56 - index * 8)
        index += 1
    }
    return word
}
