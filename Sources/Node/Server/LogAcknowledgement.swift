import Platform
import Primitives
import Storage
import Synchronization

/// Makes writes safe to acknowledge, in the configured commit log mode.
///
/// **Thread safety**: all methods, from any thread.
final class LogAcknowledgement: Acknowledgement {
    private let engine: StorageEngine
    private let background: any Background
    private let mode: CommitlogSync
    /// How long `group` waits for more writes that share a sync.
    private let groupWindowNanoseconds: UInt64
    /// The log position that must be synced before anything more is acknowledged, in any mode.
    private let demanded = Atomic<UInt64>(0)
    /// The log position that syncs made here have reached.
    private let synced = Atomic<UInt64>(0)

    init(engine: StorageEngine, background: any Background, mode: CommitlogSync, groupWindowNanoseconds: UInt64) {
        self.engine = engine
        self.background = background
        self.mode = mode
        self.groupWindowNanoseconds = groupWindowNanoseconds
    }

    var mark: UInt64 { engine.log?.appendedBytes ?? 0 }
    var failures: UInt64 { engine.logFailures }

    func flush() -> String? {
        do {
            try engine.flushLog()
            return nil
        } catch { return error.description }
    }

    /// Requires that all writes so far are synced before they are acknowledged, in any mode: Paxos promises must
    /// survive a power loss.
    func demandSync() { demanded.max(mark, ordering: .acquiringAndReleasing) }

    var needsSync: Bool {
        guard engine.log?.hasUnsynced ?? false, !PlantedBugs.isOn(.acknowledgedBeforeSync) else { return false }
        return mode != .periodic || demanded.load(ordering: .acquiring) > synced.load(ordering: .acquiring)
    }

    func sync(_ done: @escaping @Sendable (String?) -> Void) {
        background.run(.sync) { [self] in
            if mode == .group { background.sleep(nanoseconds: groupWindowNanoseconds) }
            let mark = mark
            do {
                try engine.syncLog()
                synced.max(mark, ordering: .acquiringAndReleasing)
                done(nil)
            } catch { done("\(error)") }
        }
    }
}
