import Client
import DataModel
import Primitives
import Query

/// Reads records and executes them on the query engine of an `OfflineTarget`.
///
/// **Thread safety**: one owner.
struct OfflineWorker {
    let plan: LoadPlan
    let source: RecordSource
    let ledger: LoadLedger
    let target: OfflineTarget

    func run() throws(LoadError) {
        let statement: PreparedStatement
        do throws(ServerError) {
            statement = try target.engine.prepare(plan.statement, keyspace: nil)
        } catch { throw .schema(error.message) }
        let context = SchemaScript.context()
        // One write at a time, as many as the data has: nothing is asked of other replicas.
        let options = QueryOptions(consistency: .any)
        var encoder = RowEncoder(plan, source.framing)
        var out = ByteWriter(capacity: 4096)
        var values = ValueList()
        while ledger.failure == nil, let chunk = try source.next() {
            var rows = 0
            var failure: LoadError?
            chunk.records(with: &encoder, into: &out) { outcome, line, record, encoded in
                switch outcome {
                case .blank: break
                case .refused(let reason): ledger.reject(line: line, reason: reason, record: record())
                case .row:
                    OfflineWorker.bind(encoded, to: &values)
                    do throws(ServerError) {
                        _ = try target.engine.execute(statement, values: values, options: options, context: context)
                        rows += 1
                    } catch {
                        guard error.code != .serverError, error.code != .overloaded else {
                            failure = .input("the rows cannot be written: \(error.message)")
                            return false
                        }
                        ledger.reject(line: line, reason: "\(error.code.name): \(error.message)", record: record())
                    }
                }
                return true
            }
            ledger.acknowledge(rows: rows)
            if let failure { throw failure }
            try target.took(chunk.place, rows: rows, ledger)
        }
    }

    /// Values as the protocol carries them: a length, or -2 for unset, and the bytes.
    private static func bind(_ encoded: UnsafeRawBufferPointer, to values: inout ValueList) {
        values.removeAll()
        var offset = 0
        while encoded.count - offset >= 4 {
            let length = Int(Int32(bigEndian: encoded.loadUnaligned(fromByteOffset: offset, as: Int32.self)))
            offset += 4
            if length < 0 {
                values.appendUnset()
            } else {
                values.append(UnsafeRawBufferPointer(rebasing: encoded[offset..<offset + length]))
                offset += length
            }
        }
    }
}
