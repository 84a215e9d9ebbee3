import Client
import DataModel
import NativeProtocol
import Primitives

/// Sends the records of chunks over one connection, many under way at once.
///
/// 1. While the window has room: read the next record and enqueue its INSERT under a free stream.
/// 2. Send all of them at once.
/// 3. Take every answer that has arrived: acknowledge, try again later, or refuse.
/// 4. When the connection breaks: connect again and send everything that was under way once more. An INSERT twice is an INSERT once.
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

    init(_ options: LoadOptions, _ plan: LoadPlan, _ source: RecordSource, _ ledger: LoadLedger) throws(ClientError) {
        let connection = try Connection.open(options.connection)
        let template = ExecuteTemplate(try connection.prepare(plan.insert), version: connection.version, consistency: options.consistency)
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
        while ledger.failure == nil {
            try fillWindow()
            if free.count == options.inFlight && again.isEmpty {
                if current == nil && isSourceEmpty { return }
                continue
            }
            do throws(ClientError) {
                try exchange()
            } catch {
                try recover(error)
            }
        }
    }

    private mutating func fillWindow() throws(LoadError) {
        if !again.isEmpty, WorkerThreads.nanoseconds() >= againAt {
            while let slot = again.last, let stream = free.popLast() {
                again.removeLast()
                resend(slot, stream)
            }
        }
        while !free.isEmpty && connection.pendingBytes < LoadWorker.flushBytes {
            if current == nil {
                guard let chunk = try source.next() else {
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
        var record = chunk.bytes[range]
        while let last = record.last, last == 0x0A || last == 0x0D { record.removeLast() }
        ledger.reject(line: line, reason: reason, record: String(decoding: record, as: UTF8.self))
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
                try handle(error, stream)
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

    private mutating func handle(_ error: ServerError, _ stream: Int16) throws(ClientError) {
        var slot = slots[Int(stream)]
        guard let sending = slot.sending else { return }
        let hasTriesLeft = slot.tries < LoadWorker.maxTries
        switch error.code {
        case .overloaded, .writeTimeout, .unavailable, .isBootstrapping, .writeFailure:
            guard hasTriesLeft else { break }
            // Twice as long from try to try, 20 ms to 5 s.
            let wait = min(Int64(20_000_000) << Int64(slot.tries - 1), 5_000_000_000)
            slot.tries += 1
            again.append(slot)
            againAt = max(againAt, WorkerThreads.nanoseconds() + wait)
            release(stream)
            return
        case .unprepared:
            guard hasTriesLeft else { break }
            // Preparing it again needs the connection to itself, so all begins anew.
            throw .closed(address: connection.address, reason: "the server has forgotten the prepared statement")
        default: break
        }
        refuse(sending.chunk, slot.start..<slot.end, slot.line, "\(error.code.name): \(error.message)")
        release(stream)
        sending.underWay -= 1
        finishIfDone(sending)
    }

    private func finishIfDone(_ sending: Sending) {
        guard sending.isRead, sending.underWay == 0 else { return }
        ledger.complete(sending.chunk, rows: sending.rows, now: WorkerThreads.nanoseconds())
    }

    /// Connects anew and puts everything that was under way into `again`.
    private mutating func recover(_ error: ClientError) throws(LoadError) {
        guard case .closed = error else { throw .client(error) }
        let deadline = WorkerThreads.nanoseconds() + LoadWorker.reconnectNanoseconds
        while true {
            do throws(ClientError) {
                connection = try Connection.open(options.connection)
                template = ExecuteTemplate(
                    try connection.prepare(plan.insert), version: connection.version, consistency: options.consistency)
                break
            } catch {
                if WorkerThreads.nanoseconds() > deadline || ledger.failure != nil { throw .client(error) }
                WorkerThreads.sleep(.milliseconds(500))
            }
        }
        for stream in slots.indices where slots[stream].sending != nil {
            var slot = slots[stream]
            slot.tries += 1
            again.append(slot)
            release(Int16(stream))
        }
        againAt = 0
    }
}
