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
