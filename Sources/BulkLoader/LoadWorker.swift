import Client
import DataModel
import NativeProtocol
import Primitives

/// Sends the records of chunks over one connection, with many requests in flight.
///
/// 1. While streams are free: read the next record and enqueue its statement.
/// 2. Send all enqueued requests at once.
/// 3. Handle every answer that has arrived: acknowledge, retry later, or refuse.
/// 4. If the connection breaks: reconnect and send again everything that was in flight. Repeating an INSERT is
///    harmless. Repeating a counter update is not, so counter updates with unknown outcome go to the reject file.
///
/// **Thread safety**: one owner.
struct LoadWorker: ~Copyable {
    /// Requests are sent when this many bytes are enqueued, so that the server works while further records are read.
    static let flushBytes = 32 << 10
    /// The number of tries for a record when the server is overloaded or times out.
    static let maxTries = 12
    /// How long to try to reopen a broken connection.
    static let reconnectNanoseconds: Int64 = 60_000_000_000

    /// A chunk being sent, and the number of its records in flight.
    private final class Sending {
        let chunk: RecordChunk
        var underWay = 0
        var rows = 0
        var isRead = false
        init(_ chunk: RecordChunk) { self.chunk = chunk }
    }

    private struct Slot {
        var sending: Sending?
        /// The record's range in its chunk, and its first line.
        var start = 0
        var end = 0
        var line = 0
        var tries = 0
    }

    private let options: LoadOptions
    private let plan: LoadPlan
    private let source: RecordSource
    private let ledger: LoadLedger
    private var encoder: RowEncoder
    private var connection: Connection
    private var template: ExecuteTemplate
    private var free: [Int16]
    private var slots: [Slot]
    /// Records to send again, not before `againAt`.
    private var again: [Slot] = []
    private var againAt: Int64 = 0
    private var current: Sending?
    private var offset = 0
    private var line = 0
    private var acknowledged = 0
    private var isSourceEmpty = false
    /// The server no longer knows the prepared statement. It is prepared again when nothing is in flight.
    private var mustPrepare = false

    init(_ options: LoadOptions, _ plan: LoadPlan, _ source: RecordSource, _ ledger: LoadLedger) throws(ClientError) {
        let connection = try Connection.open(options.connection)
        let template = ExecuteTemplate(
            try connection.prepare(plan.statement), version: connection.version, consistency: options.consistency)
        self.options = options
        self.plan = plan
        self.source = source
        self.ledger = ledger
        self.connection = connection
        self.template = template
        encoder = RowEncoder(plan, source.framing)
        free = (0..<options.inFlight).map { Int16($0) }
        slots = Array(repeating: Slot(), count: options.inFlight)
    }

    /// Runs until the source has no more chunks and all requests are answered, or until the load fails.
    mutating func run() throws(LoadError) {
        do throws(LoadError) {
            try work()
        } catch {
            giveUp(error.message)
            throw error
        }
        if let failure = ledger.failure { giveUp(failure.message) }
    }

    private mutating func work() throws(LoadError) {
        while ledger.failure == nil {
            try fillWindow()
            if free.count == options.inFlight && again.isEmpty {
                if current == nil && isSourceEmpty { return }
                continue
            }
            do throws(ClientError) {
                try exchange()
                if mustPrepare && free.count == options.inFlight { try prepare() }
            } catch {
                try recover(error)
            }
        }
    }

    private mutating func prepare() throws(ClientError) {
        template = ExecuteTemplate(
            try connection.prepare(plan.statement), version: connection.version, consistency: options.consistency)
        mustPrepare = false
    }

    private mutating func fillWindow() throws(LoadError) {
        if mustPrepare { return }
        if !again.isEmpty, WorkerThreads.nanoseconds() >= againAt {
            while let slot = again.last, let stream = free.popLast() {
                again.removeLast()
                resend(slot, stream)
            }
        }
        while !free.isEmpty && connection.pendingBytes < LoadWorker.flushBytes {
            if current == nil {
                guard let chunk = try ledger.take(source) else {
                    isSourceEmpty = true
                    return
                }
                current = Sending(chunk)
                offset = 0
                line = chunk.firstLine
            }
            guard let sending = current else { return }
            readChunk(sending)
            if sending.isRead {
                current = nil
                finishIfDone(sending)
            }
        }
    }

    /// Enqueues records until the chunk ends, no stream is free, or enough bytes are enqueued.
    private mutating func readChunk(_ sending: Sending) {
        let bytes = sending.chunk.bytes
        bytes.withUnsafeBytes { raw in
            while offset < raw.count {
                guard let stream = free.last, connection.pendingBytes < LoadWorker.flushBytes else { return }
                let start = offset
                let startLine = line
                var outcome = RowEncoder.Outcome.blank
                connection.enqueue { _, out in
                    let frame = template.begin(stream: stream, into: &out)
                    outcome = encoder.encode(raw, offset: &offset, line: &line, into: &out)
                    if case .row = outcome {
                        ExecuteTemplate.finish(frame, into: &out)
                    } else {
                        out.truncate(to: frame)
                    }
                }
                switch outcome {
                case .row:
                    free.removeLast()
                    slots[Int(stream)] = Slot(sending: sending, start: start, end: offset, line: startLine, tries: 1)
                    sending.underWay += 1
                case .blank: break
                case .refused(let reason): refuse(sending.chunk, start..<offset, startLine, reason)
                }
            }
            sending.isRead = true
        }
    }

    /// Enqueues a record that was sent before.
    private mutating func resend(_ slot: Slot, _ stream: Int16) {
        guard let sending = slot.sending else { return }
        sending.chunk.bytes.withUnsafeBytes { raw in
            var offset = slot.start
            var line = slot.line
            connection.enqueue { _, out in
                let frame = template.begin(stream: stream, into: &out)
                _ = encoder.encode(raw, offset: &offset, line: &line, into: &out)
                ExecuteTemplate.finish(frame, into: &out)
            }
        }
        slots[Int(stream)] = slot
    }

    private func refuse(_ chunk: RecordChunk, _ range: Range<Int>, _ line: Int, _ reason: String) {
        ledger.reject(line: line, reason: reason, record: LoadWorker.text(chunk, range))
    }

    private static func text(_ chunk: RecordChunk, _ range: Range<Int>) -> String {
        chunk.bytes.withUnsafeBytes { RecordChunk.text($0[range]) }
    }

    /// Sends the enqueued requests and handles answers that have arrived. Waits for one if no more requests can be
    /// enqueued.
    private mutating func exchange() throws(ClientError) {
        try connection.flush()
        if free.count == options.inFlight {
            let wait = againAt - WorkerThreads.nanoseconds()
            if wait > 0 { WorkerThreads.sleep(.nanoseconds(wait)) }
            return
        }
        if !again.isEmpty {
            _ = try connection.fill(atMost: .milliseconds(20))
        } else if free.isEmpty || isSourceEmpty {
            try connection.fill()
        } else {
            // More requests can be enqueued, so do not wait for answers.
            _ = try connection.fill(atMost: .zero)
        }
        acknowledged = 0
        while let frame = try connection.nextBuffered() {
            let stream = frame.header.stream
            guard stream >= 0, Int(stream) < slots.count, let sending = slots[Int(stream)].sending else { continue }
            if frame.header.rawOpcode == Opcode.error.rawValue {
                guard case .error(let error) = try Connection.decoded(frame).response else { continue }
                handle(error, stream)
            } else {
                sending.rows += 1
                acknowledged += 1
                release(stream)
                sending.underWay -= 1
                finishIfDone(sending)
            }
        }
        if acknowledged > 0 { ledger.acknowledge(rows: acknowledged) }
    }

    private mutating func release(_ stream: Int16) {
        slots[Int(stream)].sending = nil
        free.append(stream)
    }

    private mutating func handle(_ error: ServerError, _ stream: Int16) {
        let slot = slots[Int(stream)]
        guard let sending = slot.sending else { return }
        let hasTriesLeft = slot.tries < LoadWorker.maxTries
        switch error.code {
        case .writeTimeout, .writeFailure, .serverError, .readTimeout, .readFailure:
            if ledger.isExact { return doubt(stream, "\(error.code.name): \(error.message)") }
            guard hasTriesLeft, error.code == .writeTimeout || error.code == .writeFailure else { break }
            return later(stream)
        case .overloaded, .unavailable, .isBootstrapping:
            // The server has not executed the statement.
            guard hasTriesLeft else { break }
            return later(stream)
        case .unprepared:
            guard hasTriesLeft else { break }
            // Preparing uses the connection exclusively, so it must wait until nothing is in flight.
            mustPrepare = true
            return later(stream)
        default: break
        }
        refuse(sending.chunk, slot.start..<slot.end, slot.line, "\(error.code.name): \(error.message)")
        release(stream)
        sending.underWay -= 1
        finishIfDone(sending)
    }

    /// Schedules a record to be sent again. The delay doubles with each try, from 20 ms to 5 s.
    private mutating func later(_ stream: Int16) {
        var slot = slots[Int(stream)]
        let wait = min(Int64(20_000_000) << Int64(slot.tries - 1), 5_000_000_000)
        slot.tries += 1
        again.append(slot)
        againAt = max(againAt, WorkerThreads.nanoseconds() + wait)
        release(stream)
    }

    /// Reports a counter update with unknown outcome.
    private mutating func doubt(_ stream: Int16, _ reason: String) {
        let slot = slots[Int(stream)]
        guard let sending = slot.sending else { return }
        ledger.doubt(line: slot.line, reason: reason, record: LoadWorker.text(sending.chunk, slot.start..<slot.end))
        release(stream)
        sending.underWay -= 1
        finishIfDone(sending)
    }

    /// For counters, when the load stops: reports the outcome of every record that was read but not acknowledged.
    private mutating func giveUp(_ reason: String) {
        guard ledger.isExact else { return }
        for stream in slots.indices where slots[stream].sending != nil { doubt(Int16(stream), reason) }
        for slot in again {
            guard let sending = slot.sending else { continue }
            refuse(sending.chunk, slot.start..<slot.end, slot.line, "not counted: \(reason)")
            sending.underWay -= 1
            finishIfDone(sending)
        }
        again = []
        guard let sending = current else { return }
        current = nil
        let place = sending.chunk.place
        if offset < sending.chunk.bytes.count {
            ledger.leave(
                place, unsent: RecordSpan(start: place.startOffset + offset, end: place.endOffset, line: line),
                rows: sending.rows)
        } else {
            ledger.complete(place, rows: sending.rows, now: 0)
        }
    }

    private func finishIfDone(_ sending: Sending) {
        guard sending.isRead, sending.underWay == 0 else { return }
        ledger.complete(sending.chunk.place, rows: sending.rows, now: WorkerThreads.nanoseconds())
    }

    /// Reconnects and moves all requests in flight to `again`, or, for counters, to the reject file.
    private mutating func recover(_ error: ClientError) throws(LoadError) {
        guard case .closed = error else { throw .client(error) }
        let lost = error
        let deadline = WorkerThreads.nanoseconds() + LoadWorker.reconnectNanoseconds
        while true {
            do throws(ClientError) {
                connection = try Connection.open(options.connection)
                try prepare()
                break
            } catch {
                if WorkerThreads.nanoseconds() > deadline || ledger.failure != nil { throw .client(error) }
                WorkerThreads.sleep(.milliseconds(500))
            }
        }
        for stream in slots.indices where slots[stream].sending != nil {
            if ledger.isExact {
                doubt(Int16(stream), lost.message)
                continue
            }
            var slot = slots[stream]
            slot.tries += 1
            again.append(slot)
            release(Int16(stream))
        }
        againAt = 0
    }
}
