import Client
import DataModel
import Glibc
import NativeProtocol
import Primitives
import Synchronization

/// Runs the load that `options` describe and reports the result.
///
/// Creates the keyspace and the table if they are missing. Workloads other than `write` first load the rows if they are
/// missing.
public func runStress(_ options: StressOptions) throws(StressError) -> StressReport {
    if let complaint = options.complaint { throw .usage(complaint) }
    do throws(ClientError) {
        let control = try Connection.open(options.connection)
        let schema = StressSchema(options: options)
        try schema.create(control)
        if options.workload != .write, !(try schema.isLoaded(control)) {
            diagnostic("loading \(options.rows) rows into \(schema.table) first")
            var load = options
            load.workload = .write
            load.seconds = nil
            load.rate = nil
            load.distribution = .sequential
            let report = try StressRun(load).run()
            if report.errors > 0 || report.brokenConnections > 0 {
                diagnostic("\(report.errors) rows could not be loaded: \(report.messages.joined(separator: "; "))")
            }
        }
        return try StressRun(options).run()
    } catch {
        throw .client(error)
    }
}

/// One measured run: several connections, each on its own thread.
struct StressRun: Sendable {
    let options: StressOptions

    init(_ options: StressOptions) { self.options = options }

    /// Passes a connection to its thread and the outcome back.
    ///
    /// SAFETY: created before the threads start; each thread uses only its own one, and the results are read after all
    /// threads have ended.
    private final class Seat: @unchecked Sendable {
        let connection: Connection
        var outcome = WorkerOutcome()
        init(_ connection: Connection) { self.connection = connection }
    }

    func run() throws(ClientError) -> StressReport {
        var opened: [Seat] = []
        for _ in 0..<options.connections { opened.append(Seat(try Connection.open(options.connection))) }
        let seats = opened
        let progress = StressProgress()
        let payload = StressRun.payload(options)
        let distribution = options.distribution ?? (options.workload == .write ? .sequential : .uniform)
        let zipf = distribution == .zipf ? ZipfLaw(options.rows) : nil
        let ranges = ScanRanges(count: max(16, options.connections * 16))

        let processorBefore = StressRun.processorMicroseconds()
        let start = WorkerThreads.nanoseconds()
        let deadline = options.seconds.map { start + Int64($0 * 1e9) } ?? Int64.max
        let reporter = options.showsProgress ? ProgressReporter(progress, start) : nil
        WorkerThreads.run(options.connections) { index in
            let seat = seats[index]
            if options.workload == .scan {
                let worker = ScanWorker(
                    options: options, connection: seat.connection, ranges: ranges, progress: progress)
                seat.outcome = worker.run(deadline: deadline)
                return
            }
            let chooser = KeyChooser(
                distribution, rows: options.rows, index: index, connections: options.connections, seed: options.seed,
                zipf: zipf)
            let share: Double =
                switch options.workload {
                case .write, .conditional: 1
                case .read, .scan: 0
                case .mixed: options.writeShare
                }
            do throws(ClientError) {
                var worker = try StressWorker(
                    options, writeShare: share, connection: seat.connection, payload: payload, chooser: chooser,
                    progress: progress)
                let limit =
                    options.seconds != nil
                    ? Int.max : (options.rows - index + options.connections - 1) / options.connections
                seat.outcome = worker.run(
                    limit: limit, start: start, deadline: deadline,
                    rate: options.rate.map { $0 / Double(options.connections) })
            } catch {
                seat.outcome.failure = error
                seat.outcome.note(error.message)
            }
        }
        let seconds = Double(WorkerThreads.nanoseconds() - start) / 1e9
        reporter?.stop()
        return report(seats.map(\.outcome), seconds, StressRun.processorMicroseconds() - processorBefore)
    }

    private func report(_ outcomes: [WorkerOutcome], _ seconds: Double, _ processor: Double) -> StressReport {
        var report = StressReport()
        var histogram = LatencyHistogram()
        for outcome in outcomes {
            histogram.add(outcome.histogram)
            report.operations += outcome.operations
            report.errors += outcome.errors
            report.rowsRead += outcome.rowsRead
            report.missing += outcome.missing
            if outcome.failure != nil { report.brokenConnections += 1 }
            for message in outcome.messages where report.messages.count < 5 && !report.messages.contains(message) {
                report.messages.append(message)
            }
        }
        report.seconds = seconds
        report.clientMicroseconds = report.operations > 0 ? processor / Double(report.operations) : 0
        report.mean = histogram.mean / 1000
        report.p50 = Double(histogram.percentile(0.5)) / 1000
        report.p95 = Double(histogram.percentile(0.95)) / 1000
        report.p99 = Double(histogram.percentile(0.99)) / 1000
        report.p999 = Double(histogram.percentile(0.999)) / 1000
        report.max = Double(histogram.max) / 1000
        return report
    }

    /// Returns random bytes; all values are slices of them.
    private static func payload(_ options: StressOptions) -> [UInt8] {
        var random = SeededRandom(seed: options.seed)
        let words = (options.valueBytes + (256 << 10)) / 8
        var bytes: [UInt8] = []
        bytes.reserveCapacity(words * 8)
        for _ in 0..<words { withUnsafeBytes(of: random.next()) { bytes.append(contentsOf: $0) } }
        return bytes
    }

    /// Returns this process's CPU time so far, in microseconds.
    private static func processorMicroseconds() -> Double {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        let seconds = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec
        return Double(seconds) * 1e6 + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec)
    }
}

/// Shows the progress once a second, on a line that it overwrites.
final class ProgressReporter: Sendable {
    private let isStopped: StopFlag
    private let thread: WorkerThreads.Background

    final class StopFlag: Sendable {
        let value = Atomic<Bool>(false)
    }

    init(_ progress: StressProgress, _ start: Int64) {
        let flag = StopFlag()
        isStopped = flag
        thread = WorkerThreads.Background {
            var last = 0
            var ticks = 0
            while !flag.value.load(ordering: .relaxed) {
                WorkerThreads.sleep(.milliseconds(100))
                ticks += 1
                guard ticks % 10 == 0 else { continue }
                let done = progress.completed.load(ordering: .relaxed)
                let seconds = Double(WorkerThreads.nanoseconds() - start) / 1e9
                let errors = progress.errors.load(ordering: .relaxed)
                standardError("\r\(fixed(seconds, 0)) s  \(done) operations  \(done - last)/s  \(errors) errors   ")
                last = done
            }
        }
    }

    func stop() {
        isStopped.value.store(true, ordering: .relaxed)
        thread.join()
        standardError("\r\u{1B}[K")
    }
}

/// Writes a line to standard error.
func diagnostic(_ text: String) { standardError(text + "\n") }

private func standardError(_ text: String) {
    var copy = text
    copy.withUTF8 { bytes in
        var written = 0
        while written < bytes.count {
            let count = write(2, bytes.baseAddress.map { $0 + written }, bytes.count - written)
            if count <= 0 { return }
            written += count
        }
    }
}
