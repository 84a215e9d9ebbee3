import Platform
import Storage

/// Makes writes safe to acknowledge, in the configured mode.
struct LogAcknowledgement: Acknowledgement {
    let engine: StorageEngine
    let background: any Background
    let mode: CommitlogSync
    /// How long `group` waits for more writes to share a sync.
    let groupWindowNanoseconds: UInt64

    var mark: UInt64 { engine.log?.appendedBytes ?? 0 }

    func flush() -> String? {
        do {
            try engine.flushLog()
            return nil
        } catch { return error.description }
    }

    var needsSync: Bool { mode != .periodic && engine.log?.hasUnsynced ?? false }

    func sync(_ done: @escaping @Sendable (String?) -> Void) {
        background.run(.sync) {
            if mode == .group { background.sleep(nanoseconds: groupWindowNanoseconds) }
            do {
                try engine.syncLog()
                done(nil)
            } catch { done("\(error)") }
        }
    }
}
