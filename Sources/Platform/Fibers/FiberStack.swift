import CLinux
import Glibc

/// A stack with code on it that a thread can leave and come back to.
///
/// 1. `enter` runs the code until it calls `leave` or returns; `enter` returns then.
/// 2. `enter` again goes on behind `leave`. Stacks nest: code on one stack may enter another.
/// 3. Below the stack lies a page that cannot be touched, so that an overflow ends the process instead of writing over other memory.
///
/// **Thread safety**: none. Code that left must be entered on the same thread again, because thread-local state goes with it.
/// SAFETY: `@unchecked Sendable` for its owners, which keep it on one thread. The mapping and the two stack pointers are made by `init` and freed
/// by `deinit`; freeing a stack with code on it is the owner's mistake.
public final class FiberStack: @unchecked Sendable {
    private let mapping: UnsafeMutableRawPointer
    private let mappedBytes: Int
    /// The stack pointers of the code on this stack, and of the code that entered it.
    private let pointers: UnsafeMutablePointer<UnsafeMutableRawPointer?>

    private static let guardBytes = 4096

    /// - Parameters:
    ///   - bytes: of the stack; pages that are never touched take no memory.
    ///   - entry: the code. It must return `returnPointer` of this stack.
    ///   - argument: for `entry`; its memory must outlive the code.
    public init(bytes: Int, entry: @escaping @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer?, argument: UnsafeMutableRawPointer) {
        mappedBytes = FiberStack.guardBytes + bytes
        let protection = PROT_READ | PROT_WRITE
        guard let mapped = mmap(nil, mappedBytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), mapped != MAP_FAILED
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

    /// What the code's entry function returns.
    public var returnPointer: UnsafeMutableRawPointer? { pointers[1] }

    /// Runs the code on this stack until it leaves or returns.
    @inline(__always) public func enter() { auspex_fiber_switch(pointers + 1, pointers[0]) }

    /// Called on this stack: goes back to whoever entered it.
    @inline(__always) public func leave() { auspex_fiber_switch(pointers, pointers[1]) }

    /// Bytes of the stack that have memory, at page granularity: the deepest use so far, unless pages were given back.
    public var residentBytes: Int {
        let page = 4096
        var resident = [UInt8](repeating: 0, count: mappedBytes / page)
        guard mincore(mapping, mappedBytes, &resident) == 0 else { return 0 }
        return resident.reduce(0) { $0 + Int($1 & 1) } * page
    }
}
