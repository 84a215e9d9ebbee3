import CZstd
import Synchronization

/// A pool of zstd decompression contexts: creating one per block would cost more than the decompression.
enum ZstdContextPool {
    /// SAFETY: a context is used only by the pool, or by the caller that took it from the pool.
    private struct Context: @unchecked Sendable { let pointer: OpaquePointer }

    private static let pool = Mutex<[Context]>([])
    private static let limit = 16

    static func withContext<R>(_ body: (OpaquePointer) -> R) -> R {
        let context = pool.withLock { $0.popLast() } ?? Context(pointer: ZSTD_createDCtx())
        defer {
            let kept = pool.withLock { pool in
                guard pool.count < limit else { return false }
                pool.append(context)
                return true
            }
            if !kept { ZSTD_freeDCtx(context.pointer) }
        }
        return body(context.pointer)
    }
}
