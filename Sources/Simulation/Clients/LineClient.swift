import Platform
import Primitives

/// A client of the line protocol on the simulated network: one request at a time, over a connection to one node.
///
/// Methods that wait must be called on a fiber. A request without an answer in time has an unknown outcome and ends the
/// connection.
/// SAFETY: `@unchecked Sendable` because it belongs to a world, which one thread runs.
final class LineClient: @unchecked Sendable {
    /// The handler of the client's connection.
    private final class Session: ConnectionHandler {
        let client: LineClient
        let connection: any Connection
        var out = ByteWriter()
        var line: [UInt8] = []

        init(client: LineClient, connection: any Connection) {
            self.client = client
            self.connection = connection
        }

        var isPaused: Bool { false }

        func receive(_ input: UnsafeRawBufferPointer) -> Int {
            for byte in input {
                if byte == UInt8(ascii: "\n") {
                    client.received(String(decoding: line, as: UTF8.self), self)
                    line.removeAll(keepingCapacity: true)
                } else {
                    line.append(byte)
                }
            }
            return input.count
        }

        func takeOutput(failure: String?, _ body: (UnsafeRawBufferPointer) -> Void) {
            body(out.bytes)
            out.removeAll()
        }

        func inputEnded(_ rest: UnsafeRawBufferPointer) {}
        func closed() { client.ended(self) }
    }

    private let world: SimulatedWorld
    private let network: SimulatedNetwork
    private let host: String
    private let port: Int
    private var session: Session?
    private var lines: [String] = []
    private var answer: ((LineReply) -> Void)?
    private var consistency = ""
    private var page = 0

    init(network: SimulatedNetwork, host: String, port: Int) {
        self.network = network
        self.host = host
        self.port = port
        world = network.fabric.world
    }

    /// Runs a statement at a consistency level.
    /// - Parameter page: the page size in rows, where all pages are fetched one after another; 0 turns paging off.
    func run(_ statement: String, consistency level: String, page rows: Int, timeout: UInt64) -> LineReply {
        let deadline = world.now + timeout
        if session == nil {
            open()
            for command in ["\\serial SERIAL", "\\timing"] {
                let reply = send(command, until: deadline)
                guard reply.isDone else { return .failed(code: 0x1000, text: "no connection: \(reply.text)") }
            }
        }
        if consistency != level {
            // The node may report a failure although it has changed the level: that of a tick whose writes could not be
            // logged.
            consistency = ""
            let reply = send("\\consistency \(level)", until: deadline)
            // The statement itself was not sent.
            guard reply.isDone else { return .failed(code: 0x1000, text: "no connection: \(reply.text)") }
            consistency = level
        }
        if page != rows {
            page = -1
            let reply = send("\\page \(rows)", until: deadline)
            guard reply.isDone else { return .failed(code: 0x1000, text: "no connection: \(reply.text)") }
            page = rows
        }
        var reply = send(statement, until: deadline)
        var all: [[String]] = []
        while case .done(let rows, let text) = reply {
            all += rows
            guard lines.contains(where: { $0.hasPrefix("> ") }) else { return .done(rows: all, text: text) }
            reply = send("\\next", until: deadline)
        }
        return reply
    }

    private func open() {
        consistency = ""
        page = 0
        network.connect(host: host, port: port, loop: 0) { [self] connection in
            let new = Session(client: self, connection: connection)
            session = new
            return new
        }
    }

    /// Closes the connection.
    func close() {
        session?.connection.closeAfterOutput()
        session = nil
    }

    private func send(_ line: String, until deadline: UInt64) -> LineReply {
        guard let session, deadline > world.now else {
            close()
            return .unknown("no connection")
        }
        lines = []
        session.out.write(line + "\n")
        session.connection.markReady()
        let outcome = Outcome()
        world.park { resume in
            answer = { reply in
                outcome.reply = reply
                resume()
            }
            world.after(deadline - world.now) { [self] in
                if outcome.reply == nil, let answer {
                    self.answer = nil
                    answer(.unknown("no answer in time"))
                }
            }
        }
        guard let reply = outcome.reply else { preconditionFailure("resumed without an answer") }
        if case .unknown = reply { close() }
        return reply
    }

    /// The result of a request, once it is known.
    private final class Outcome {
        var reply: LineReply?
    }

    private func received(_ line: String, _ from: Session) {
        guard from === session else { return }
        lines.append(line)
        guard line.hasPrefix(".") || line.hasPrefix("!"), let answer else { return }
        self.answer = nil
        answer(LineReply(lines: lines) ?? .unknown("malformed answer: \(line)"))
    }

    private func ended(_ ended: Session) {
        guard ended === session else { return }
        session = nil
        if let answer {
            self.answer = nil
            answer(.unknown("the connection broke"))
        }
    }
}
