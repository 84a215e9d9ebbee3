import CZstd
import Synchronization

/// Decompression contexts of zstd, reused: a fresh one for each block costs more than decompressing it.
enum ThreadZstd {
    /// SAFETY: a context in the pool is owned by the pool, one taken out by its taker alone.
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
