import Client
import Primitives

/// Reads records and checks their values without sending them.
struct DryRunWorker {
    let plan: LoadPlan
    let source: RecordSource
    let ledger: LoadLedger

    func run() throws(LoadError) {
        var encoder = RowEncoder(plan, source.framing)
        var out = ByteWriter(capacity: 4096)
        while ledger.failure == nil, let chunk = try source.next() {
            var rows = 0
            chunk.records(with: &encoder, into: &out) { outcome, line, record, _ in
                switch outcome {
                case .row: rows += 1
                case .blank: break
                case .refused(let reason): ledger.reject(line: line, reason: reason, record: record())
                }
                return true
            }
            ledger.acknowledge(rows: rows)
            ledger.complete(chunk.place, rows: rows, now: WorkerThreads.nanoseconds())
        }
    }
}
