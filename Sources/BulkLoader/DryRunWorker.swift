import Client
import Primitives

/// Reads records and checks their types without sending any.
struct DryRunWorker {
    let plan: LoadPlan
    let source: RecordSource
    let ledger: LoadLedger

    func run() throws(LoadError) {
        var encoder = RowEncoder(plan, source.framing)
        var out = ByteWriter(capacity: 4096)
        while ledger.failure == nil, let chunk = try source.next() {
            var rows = 0
            var line = chunk.firstLine
            chunk.bytes.withUnsafeBytes { raw in
                var offset = 0
                while offset < raw.count {
                    let start = offset
                    let startLine = line
                    out.removeAll()
                    switch encoder.encode(raw, offset: &offset, line: &line, into: &out) {
                    case .row: rows += 1
                    case .blank: break
                    case .refused(let reason):
                        var record = raw[start..<offset]
                        while let last = record.last, last == 0x0A || last == 0x0D { record.removeLast() }
                        ledger.reject(line: startLine, reason: reason, record: String(decoding: record, as: UTF8.self))
                    }
                }
            }
            ledger.acknowledge(rows: rows)
            ledger.complete(chunk, rows: rows, now: WorkerThreads.nanoseconds())
        }
    }
}
