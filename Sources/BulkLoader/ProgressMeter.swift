import Client
import Synchronization

/// Shows the progress of a load on a line that it overwrites twice a second.
final class ProgressMeter: Sendable {
    private final class Flag: Sendable {
        let isStopped = Atomic<Bool>(false)
    }

    private let flag: Flag
    private let thread: WorkerThreads.Background

    init(_ source: RecordSource, _ ledger: LoadLedger) {
        let flag = Flag()
        self.flag = flag
        let begun = WorkerThreads.nanoseconds()
        thread = WorkerThreads.Background {
            var ticks = 0
            var last = (rows: 0, time: begun)
            while !flag.isStopped.load(ordering: .relaxed) {
                WorkerThreads.sleep(.milliseconds(50))
                ticks += 1
                guard ticks % 10 == 0 else { continue }
                let now = WorkerThreads.nanoseconds()
                let totals = ledger.totals
                let rate = Double(totals.rows - last.rows) * 1e9 / Double(max(1, now - last.time))
                last = (totals.rows, now)
                standardError(
                    "\r\u{1B}[K" + ProgressMeter.line(totals, rate, source.progress, Double(now - begun) / 1e9))
            }
        }
    }

    func stop() {
        flag.isStopped.store(true, ordering: .relaxed)
        thread.join()
        standardError("\r\u{1B}[K")
    }

    /// Returns the text of the line.
    static func line(
        _ totals: (rows: Int, refused: Int, bytes: Int), _ rate: Double, _ progress: (done: Int, total: Int)?,
        _ seconds: Double
    ) -> String {
        var text = "\(totals.rows) rows, \(Int(rate)) rows/s, \(size(totals.bytes))"
        if totals.refused > 0 { text += ", \(totals.refused) refused" }
        if let progress, progress.total > 0, progress.done > 0 {
            let share = min(1, Double(progress.done) / Double(progress.total))
            let left = Int(seconds * (1 - share) / share)
            text += ", \(Int(share * 100))%, \(left / 60):\(left % 60 < 10 ? "0" : "")\(left % 60) left"
        }
        return text
    }

    private static func size(_ bytes: Int) -> String {
        bytes < 1 << 20 ? "\(bytes >> 10) KiB" : bytes < 10 << 30 ? "\(bytes >> 20) MiB" : "\(bytes >> 30) GiB"
    }
}
