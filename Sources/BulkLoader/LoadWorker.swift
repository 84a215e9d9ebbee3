import Client
import DataModel
import NativeProtocol
import Primitives

/// Sends the records of chunks over one connection, many under way at once.
///
/// 1. While the window has room: read the next record and enqueue its INSERT under a free stream.
/// 2. Send all of them at once.
/// 3. Take every answer that has arrived: acknowledge, try again later, or refuse.
/// 4. When the connection breaks: connect again and send everything that was under way once more. An INSERT twice is an INSERT once; a count is not,
///    so what was counted or not is left to the reject file, as is a count that the server cannot say more of.
///
/// **Thread safety**: one owner.
struct LoadWorker: ~Copyable {
    /// What is enqueued goes out when it has this many bytes, so that the server works while the next records are read.
    static let flushBytes = 32 << 10
    /// A record is tried this often when the server is overloaded or times out.
    static let maxTries = 12
    /// How long a broken connection is tried to be opened again.
    static let reconnectNanoseconds: Int64 = 60_000_000_000

    /// A chunk being sent, and how many of its records are under way.
    private final class Sending {
        let chunk: RecordChunk
        var underWay = 0
        var rows = 0
        var isRead = false
        init(_ chunk: RecordChunk) { self.chunk = chunk }
    }

    private struct Slot {
        var sending: Sending?
        /// The record's place in its chunk, and its first line.
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
    /// Records to be sent again, and not before this time.
    private var again: [Slot] = []
    private var againAt: Int64 = 0
    private var current: Sending?
    private var offset = 0
    private var line = 0
    private var acknowledged = 0
    private var isSourceEmpty = false
    /// The server has forgotten the statement; it is prepared again once nothing is under way.
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

    /// Works until the source has no more chunks and everything is answered, or the load failed.
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

    /// Enqueues records of the chunk until it, the window or what is sent at once is at its end.
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
                    if case .row = outcome { ExecuteTemplate.finish(frame, into: &out) } else { out.truncate(to: frame) }
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

    /// Sends what is enqueued and takes the answers that have arrived; waits for one when nothing else can be done.
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
            // There is room for more: only what is there already is taken.
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
            // The server has not begun.
            guard hasTriesLeft else { break }
            return later(stream)
        case .unprepared:
            guard hasTriesLeft else { break }
            // Preparing it needs the connection to itself.
            mustPrepare = true
            return later(stream)
        default: break
        }
        refuse(sending.chunk, slot.start..<slot.end, slot.line, "\(error.code.name): \(error.message)")
        release(stream)
        sending.underWay -= 1
        finishIfDone(sending)
    }

    /// Sends a record again after a while: twice as long from try to try, 20 ms to 5 s.
    private mutating func later(_ stream: Int16) {
        var slot = slots[Int(stream)]
        let wait = min(Int64(20_000_000) << Int64(slot.tries - 1), 5_000_000_000)
        slot.tries += 1
        again.append(slot)
        againAt = max(againAt, WorkerThreads.nanoseconds() + wait)
        release(stream)
    }

    /// Notes a count of which it is not known whether it was added.
    private mutating func doubt(_ stream: Int16, _ reason: String) {
        let slot = slots[Int(stream)]
        guard let sending = slot.sending else { return }
        ledger.doubt(line: slot.line, reason: reason, record: LoadWorker.text(sending.chunk, slot.start..<slot.end))
        release(stream)
        sending.underWay -= 1
        finishIfDone(sending)
    }

    /// For counters, when the load stops: says of every record that was taken up what became of it.
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
                place, unsent: RecordSpan(start: place.startOffset + offset, end: place.endOffset, line: line), rows: sending.rows)
        } else {
            ledger.complete(place, rows: sending.rows, now: 0)
        }
    }

    private func finishIfDone(_ sending: Sending) {
        guard sending.isRead, sending.underWay == 0 else { return }
        ledger.complete(sending.chunk.place, rows: sending.rows, now: WorkerThreads.nanoseconds())
    }

    /// Connects anew and puts everything that was under way into `again`.
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
