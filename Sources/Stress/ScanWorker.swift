import Client
import DataModel
import NativeProtocol
import Primitives
import Synchronization

/// The token ranges of a scan, taken by whichever worker is free.
final class ScanRanges: Sendable {
    let count: Int
    private let next = Atomic<Int>(0)

    init(count: Int) { self.count = count }

    /// Returns the next range as (exclusive start, inclusive end); nil when all are taken. With `repeats`, starts over
    /// instead.
    func take(repeats: Bool) -> (Int64, Int64)? {
        let index = next.add(1, ordering: .relaxed).oldValue
        guard repeats || index < count else { return nil }
        let number = index % count
        let width = UInt64.max / UInt64(count)
        let start = Int64.min &+ Int64(bitPattern: width &* UInt64(number))
        let end = number == count - 1 ? Int64.max : Int64.min &+ Int64(bitPattern: width &* UInt64(number + 1))
        return (start, end)
    }
}

/// Scans token ranges page by page on one connection. Each page counts as one operation.
struct ScanWorker {
    let options: StressOptions
    let connection: Connection
    let ranges: ScanRanges
    let progress: StressProgress

    func run(deadline: Int64) -> WorkerOutcome {
        var outcome = WorkerOutcome()
        do throws(ClientError) {
            let statement = try connection.prepare(StressSchema(options: options).scan)
            while WorkerThreads.nanoseconds() < deadline,
                let (start, end) = ranges.take(repeats: options.seconds != nil)
            {
                try scan(statement, start, end, deadline, &outcome)
            }
        } catch {
            outcome.failure = error
            outcome.note(error.message)
        }
        return outcome
    }

    private func scan(
        _ statement: PreparedDescription, _ start: Int64, _ end: Int64, _ deadline: Int64,
        _ outcome: inout WorkerOutcome
    ) throws(ClientError) {
        var query = QueryOptions()
        query.consistency = options.consistency
        query.pageSize = 5000
        query.skipMetadata = true
        query.values.append(withUnsafeBytes(of: start.bigEndian) { [UInt8]($0) })
        query.values.append(withUnsafeBytes(of: end.bigEndian) { [UInt8]($0) })
        while true {
            let begun = WorkerThreads.nanoseconds()
            do {
                guard case .rows(let rows) = try connection.execute(statement, query).result else { return }
                outcome.rowsRead += rows.rowCount
                query.pagingState = rows.pagingState
            } catch {
                guard case .server(let refusal) = error else { throw error }
                outcome.errors += 1
                progress.errors.add(1, ordering: .relaxed)
                outcome.note("\(refusal.code.name): \(refusal.message)")
                query.pagingState = nil
            }
            let now = WorkerThreads.nanoseconds()
            outcome.histogram.record(now - begun)
            outcome.operations += 1
            progress.completed.add(1, ordering: .relaxed)
            if query.pagingState == nil || now >= deadline { return }
        }
    }
}
