#if canImport(Glibc)
    import Glibc
#endif

/// Compares like memcmp; of two where one is a prefix of the other, the shorter comes first. Returns a negative number,
/// zero or a positive number.
@inline(__always) public func compareBytes(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Int {
    let common = min(a.count, b.count)
    if common > 0 {
        let order = memcmp(a.baseAddress.unsafelyUnwrapped, b.baseAddress.unsafelyUnwrapped, common)
        if order != 0 { return Int(order) }
    }
    return a.count - b.count
}

/// Compares two arrays like memcmp.
public func compareBytes(_ a: [UInt8], _ b: [UInt8]) -> Int {
    a.withUnsafeBytes { left in b.withUnsafeBytes { right in compareBytes(left, right) } }
}

/// Returns the 8 bytes of a key after the first `skip` as a big-endian number, zero-padded. For keys with the same
/// first `skip` bytes, a smaller number means a smaller key.
@inline(__always) public func keyPrefixWord(_ key: UnsafeRawBufferPointer, skip: Int) -> UInt64 {
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
