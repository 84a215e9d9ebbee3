import CLinux
import Glibc

/// A stack whose code a thread can leave and re-enter.
///
/// 1. `enter` runs the code until it calls `leave` or returns; then `enter` returns.
/// 2. The next `enter` continues after `leave`. Stacks nest: code on one stack may enter another.
/// 3. An inaccessible page lies below the stack, so that an overflow ends the process instead of overwriting other
///    memory.
///
/// **Thread safety**: none. Code that left must be re-entered on the same thread, because it uses thread-local state.
/// SAFETY: `@unchecked Sendable` for its owners, which keep it on one thread. `init` creates the mapping and the two
/// stack pointers, `deinit` frees them. The owner must not free a stack whose code is still active.
public final class FiberStack: @unchecked Sendable {
    private let mapping: UnsafeMutableRawPointer
    private let mappedBytes: Int
    /// The stack pointer of the code on this stack, and that of the code that entered it.
    private let pointers: UnsafeMutablePointer<UnsafeMutableRawPointer?>

    private static let guardBytes = 4096

    /// - Parameters:
    ///   - bytes: the size of the stack; untouched pages use no memory.
    ///   - entry: the code. It must return this stack's `returnPointer`.
    ///   - argument: passed to `entry`; its memory must outlive the code.
    public init(
        bytes: Int, entry: @escaping @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer?,
        argument: UnsafeMutableRawPointer
    ) {
        mappedBytes = FiberStack.guardBytes + bytes
        let protection = PROT_READ | PROT_WRITE
        guard let mapped = mmap(nil, mappedBytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0),
            mapped != MAP_FAILED
        else { preconditionFailure("cannot map \(bytes) bytes for the stack of a fiber: errno \(errno)") }
        mprotect(mapped, FiberStack.guardBytes, PROT_NONE)
        mapping = mapped
        pointers = .allocate(capacity: 2)
        pointers.initialize(repeating: nil, count: 2)
        pointers[0] = auspex_fiber_prepare(mapped + mappedBytes, entry, argument)
    }

    deinit {
        munmap(mapping, mappedBytes)
        pointers.deallocate()
    }

    /// The value that the code's entry function must return.
    public var returnPointer: UnsafeMutableRawPointer? { pointers[1] }

    /// Runs the code on this stack until it leaves or returns.
    @inline(__always) public func enter() { auspex_fiber_switch(pointers + 1, pointers[0]) }

    /// Returns to the code that entered this stack. Call it on this stack.
    @inline(__always) public func leave() { auspex_fiber_switch(pointers, pointers[1]) }

    /// The resident bytes of the stack, in whole pages: its deepest use so far, unless the kernel has reclaimed pages.
    public var residentBytes: Int {
        let page = 4096
        var resident = [UInt8](repeating: 0, count: mappedBytes / page)
        guard mincore(mapping, mappedBytes, &resident) == 0 else { return 0 }
        return resident.reduce(0) { $0 + Int($1 & 1) } * page
    }
}
