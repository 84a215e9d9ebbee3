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
        let scratch = SchemaScript.scratch()
        // The consistency level is irrelevant: there are no other replicas.
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
                    do throws(QueryFailure) {
                        _ = try target.engine.execute(statement, values: values, options: options, io: .blocking, scratch: scratch)
                        rows += 1
                    } catch {
                        guard case .server(let problem) = error, problem.code != .serverError, problem.code != .overloaded else {
                            failure = .input("the rows cannot be written: \(OfflineWorker.message(error))")
                            return false
                        }
                        ledger.reject(line: line, reason: "\(problem.code.name): \(problem.message)", record: record())
                    }
                }
                return true
            }
            ledger.acknowledge(rows: rows)
            if let failure { throw failure }
            try target.took(chunk.place, rows: rows, ledger)
        }
    }

    private static func message(_ failure: QueryFailure) -> String {
        if case .server(let error) = failure { return error.message }
        return "the engine had to wait"
    }

    /// Binds values in the protocol's encoding: a length, or -2 for unset, followed by the bytes.
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
