import Client
import DataModel
import NativeProtocol
import Primitives
import Synchronization

/// Counters shared by all connections of a run.
final class StressProgress: Sendable {
    let completed = Atomic<Int>(0)
    let errors = Atomic<Int>(0)
}

/// The results of one connection.
struct WorkerOutcome: Sendable {
    var histogram = LatencyHistogram()
    var operations = 0
    var errors = 0
    var rowsRead = 0
    var missing = 0
    var messages: [String] = []
    var failure: ClientError?

    mutating func note(_ message: String) {
        if messages.count < 5 && !messages.contains(message) { messages.append(message) }
    }
}

/// Runs single-row reads and writes on one connection.
///
/// 1. While streams are free and, with a rate, an operation is due: enqueue it.
/// 2. Send all enqueued requests at once.
/// 3. Handle every answer that has arrived, then wait for more.
///
/// With a rate, an operation's latency counts from the time it was due, not from the time it was sent, so that delays
/// by a stalled server are included (Tene, "coordinated omission").
struct StressWorker {
    private let options: StressOptions
    private let connection: Connection
    /// An insert, whose first value is the key, or a conditional update, whose last value is the key.
    private let write: ExecuteTemplate
    private let read: ExecuteTemplate
    private let payload: [UInt8]
    private var chooser: KeyChooser
    private let writeShare: Double
    private let progress: StressProgress

    init(
        _ options: StressOptions, writeShare: Double, connection: Connection, payload: [UInt8], chooser: KeyChooser,
        progress: StressProgress
    ) throws(ClientError) {
        self.options = options
        self.connection = connection
        self.payload = payload
        self.chooser = chooser
        self.writeShare = writeShare
        self.progress = progress
        let schema = StressSchema(options: options)
        let version = connection.version
        let change = options.workload == .conditional ? schema.conditional : schema.insert
        write = ExecuteTemplate(try connection.prepare(change), version: version, consistency: options.consistency)
        read = ExecuteTemplate(
            try connection.prepare(schema.select), version: version, consistency: options.consistency)
    }

    /// Runs until `limit` operations have begun or `deadline` has passed, and all are answered.
    mutating func run(limit: Int, start: Int64, deadline: Int64, rate: Double?) -> WorkerOutcome {
        var outcome = WorkerOutcome()
        do throws(ClientError) {
            try run(limit: limit, start: start, deadline: deadline, interval: rate.map { 1e9 / $0 }, &outcome)
        } catch {
            outcome.failure = error
            outcome.note(error.message)
        }
        return outcome
    }

    private mutating func run(
        limit: Int, start: Int64, deadline: Int64, interval: Double?, _ outcome: inout WorkerOutcome
    ) throws(ClientError) {
        var free = (0..<options.inFlight).map { Int16($0) }
        var begun = [Int64](repeating: 0, count: options.inFlight)
        var isRead = [Bool](repeating: false, count: options.inFlight)
        var issued = 0
        var now = WorkerThreads.nanoseconds()
        while true {
            let mayIssue = issued < limit && now < deadline
            if mayIssue {
                while !free.isEmpty && issued < limit {
                    let due = interval.map { start + Int64(Double(issued) * $0) } ?? now
                    if due > now { break }
                    let stream = free.removeLast()
                    begun[Int(stream)] = due
                    isRead[Int(stream)] = encode(stream)
                    issued += 1
                }
            }
            if connection.pendingBytes > 0 { try connection.flush() }
            let outstanding = options.inFlight - free.count
            if outstanding == 0 {
                if issued >= limit || now >= deadline { return }
                // Nothing is in flight and nothing is due yet: possible only with a rate.
                let due = start + Int64(Double(issued) * (interval ?? 0))
                WorkerThreads.sleep(.nanoseconds(max(1, min(due, deadline) - now)))
                now = WorkerThreads.nanoseconds()
                continue
            }
            if let interval, mayIssue, !free.isEmpty, issued < limit {
                let due = start + Int64(Double(issued) * interval)
                _ = try connection.fill(atMost: .nanoseconds(max(0, due - now)))
            } else {
                try connection.fill()
            }
            now = WorkerThreads.nanoseconds()
            var completed = 0
            while let frame = try connection.nextBuffered() {
                let stream = Int(frame.header.stream)
                guard stream >= 0, stream < options.inFlight else { continue }
                outcome.histogram.record(now - begun[stream])
                completed += 1
                if frame.header.rawOpcode == Opcode.error.rawValue {
                    outcome.errors += 1
                    progress.errors.add(1, ordering: .relaxed)
                    if case .error(let error) = try Connection.decoded(frame).response {
                        outcome.note("\(error.code.name): \(error.message)")
                    }
                } else if isRead[stream] {
                    if frame.rowCount == 0 { outcome.missing += 1 } else { outcome.rowsRead += 1 }
                } else if options.workload == .conditional, frame.body.last == 0 {
                    // `[applied]`, the answer's only column, is false: the row does not exist.
                    outcome.missing += 1
                }
                free.append(frame.header.stream)
            }
            outcome.operations += completed
            progress.completed.add(completed, ordering: .relaxed)
        }
    }

    /// Enqueues the next operation and returns whether it is a read.
    private mutating func encode(_ stream: Int16) -> Bool {
        let row = chooser.row()
        let isWrite = writeShare >= 1 || (writeShare > 0 && chooser.happens(writeShare))
        let template = isWrite ? write : read
        let length = options.valueBytes
        let columns = options.columns
        let keyIsLast = options.workload == .conditional
        connection.enqueue { _, out in
            let start = template.begin(stream: stream, into: &out)
            if !keyIsLast { StressWorker.key(row, into: &out) }
            if isWrite {
                payload.withUnsafeBytes { bytes in
                    // Values are slices of one random block, at offsets derived from the row.
                    var place = Int(truncatingIfNeeded: UInt64(row) &* 0x9e37_79b9_7f4a_7c15 >> 40)
                    for _ in 0..<columns {
                        let offset = place % (bytes.count - length)
                        ExecuteTemplate.value(
                            UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + length]), into: &out)
                        place += 7919
                    }
                }
            }
            if keyIsLast { StressWorker.key(row, into: &out) }
            ExecuteTemplate.finish(start, into: &out)
        }
        return !isWrite
    }

    @inline(__always) private static func key(_ row: Int, into out: inout ByteWriter) {
        out.writeBE(Int32(8))
        out.writeBE(UInt64(row))
    }
}
