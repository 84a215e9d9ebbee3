import DataModel
import Platform
import Primitives
import Storage

/// A connection to the HTTP port: `/health`, `/metrics`, `/admin/COMMAND`. HTTP/1.1, one request at a time.
///
/// A browser on this machine reaches the port for every web page that it shows. So requests are refused that a page can
/// send and `auspex admin` does not: with an Origin; on loopback, with a name as Host, which a page gets there by
/// pointing its own name at this address (DNS rebinding); and changes without the header `changeHeader`, which a page
/// may send only after a question that nobody answers.
///
/// SAFETY: `@unchecked Sendable` because all state is accessed on the connection's loop only; closures from background
/// threads switch to it first.
final class HTTPSession: ConnectionHandler, @unchecked Sendable {
    private let connection: any Connection
    private let node: NodeServer
    /// Whether the port can be reached from this machine only.
    private let isLoopback: Bool
    private var out = ByteWriter(capacity: 1024)
    private var isWaiting = false
    private var isClosing = false
    private var inputHasEnded = false

    /// Commands that change the node need this header, with any value.
    static let changeHeader = "Auspex-Admin"
    static let largestHead = 16 << 10
    static let largestBody = 64 << 10

    init(connection: any Connection, node: NodeServer) {
        self.connection = connection
        self.node = node
        let address = node.configuration.httpAddress
        isLoopback = address.hasPrefix("127.") || address == "::1" || address == "localhost"
    }

    static let pauseOutputBytes = 1 << 20

    var isPaused: Bool { isWaiting || out.count >= HTTPSession.pauseOutputBytes }

    func receive(_ input: UnsafeRawBufferPointer) -> Int {
        var consumed = 0
        while !isPaused && !isClosing {
            let rest = UnsafeRawBufferPointer(rebasing: input[consumed...])
            guard let headEnd = HTTPSession.headEnd(rest) else {
                if rest.count > HTTPSession.largestHead {
                    refuse(431, "the request's head is longer than \(HTTPSession.largestHead) bytes")
                }
                break
            }
            let lines = String(decoding: rest[..<headEnd], as: UTF8.self).split(separator: "\r\n")
            var bodyCount = 0
            var keepsAlive = true
            var head = Head()
            for line in lines.dropFirst() {
                let parts = line.split(separator: ":", maxSplits: 1)
                guard parts.count == 2 else { continue }
                let value = parts[1].drop { $0 == " " }
                switch parts[0].lowercased() {
                case "content-length": bodyCount = Int(value) ?? -1
                case "connection": keepsAlive = value.lowercased() != "close"
                case "host": head.host = String(value)
                case "origin": head.hasOrigin = true
                case HTTPSession.changeHeader.lowercased(): head.mayChange = true
                default: break
                }
            }
            guard bodyCount >= 0, bodyCount <= HTTPSession.largestBody else {
                refuse(413, "a request's body has at most \(HTTPSession.largestBody) bytes")
                break
            }
            guard rest.count - headEnd - 4 >= bodyCount else { break }
            consumed += headEnd + 4 + bodyCount
            let words = (lines.first ?? "").split(separator: " ")
            guard words.count == 3, words[2].hasPrefix("HTTP/1.") else {
                refuse(400, "not an HTTP/1.1 request")
                break
            }
            if !keepsAlive || words[2] == "HTTP/1.0" { isClosing = true }
            handle(String(words[0]), String(words[1]), head)
        }
        if out.count > 0 {
            if isClosing && !isWaiting { connection.closeAfterOutput() } else { connection.markReady() }
        }
        return isClosing && !isWaiting ? input.count : consumed
    }

    private static func headEnd(_ bytes: UnsafeRawBufferPointer) -> Int? {
        var index = 0
        while bytes.count - index >= 4 {
            if bytes[index] == 13 && bytes[index + 1] == 10 && bytes[index + 2] == 13 && bytes[index + 3] == 10 {
                return index
            }
            index += 1
        }
        return nil
    }

    private func refuse(_ status: Int, _ why: String) {
        isClosing = true
        answer(status, "text/plain", why + "\n")
    }

    /// What a request's head says of its sender.
    private struct Head {
        var host = ""
        var hasOrigin = false
        var mayChange = false
    }

    /// Whether a Host names this machine, or nothing. Another name means that a web page has sent the request.
    static func isLocal(_ host: String) -> Bool {
        if host.isEmpty || host.hasPrefix("[") { return true }
        let name = host.split(separator: ":", maxSplits: 1).first ?? ""
        return name == "localhost" || name.utf8.allSatisfy { $0 == UInt8(ascii: ".") || (48...57).contains($0) }
    }

    private func handle(_ method: String, _ target: String, _ head: Head) {
        guard !head.hasOrigin, !isLoopback || HTTPSession.isLocal(head.host) else {
            isClosing = true
            return answer(
                403, "application/json",
                HTTPSession.problem(
                    "requests of web pages are refused: send no Origin, and an address or localhost as Host"))
        }
        let parts = target.split(separator: "?", maxSplits: 1)
        let path = String(parts.first ?? "")
        switch (method, path) {
        case ("GET", "/health"):
            var failure = node.storage.failure
            if failure != nil {
                // Look whether the log can be written again; without requests nobody else does.
                try? node.storage.flushLog()
                failure = node.storage.failure
            }
            let state = node.isDraining ? "draining" : failure == nil ? "ok" : "failing"
            answer(
                state == "ok" ? 200 : 503, "application/json",
                AdminValue.object([("status", .string(state)), ("failure", failure.map { .string($0) } ?? .null)]).json
                    + "\n")
        case ("GET", "/metrics"): answer(200, "text/plain; version=0.0.4", Metrics(node: node).render())
        case ("GET", _) where path.hasPrefix("/admin/"), ("POST", _) where path.hasPrefix("/admin/"):
            let command = String(path.dropFirst(7))
            if AdminCommands.changing.contains(command) && method != "POST" {
                return answer(405, "application/json", HTTPSession.problem("\(command) changes the node: use POST"))
            }
            if AdminCommands.changing.contains(command) && !head.mayChange {
                return answer(
                    403, "application/json",
                    HTTPSession.problem(
                        "\(command) changes the node: send the header \(HTTPSession.changeHeader): 1, as auspex admin does"
                    ))
            }
            admin(command, HTTPSession.arguments(parts.count > 1 ? String(parts[1]) : ""))
        case ("GET", _), ("POST", _):
            answer(
                404, "application/json",
                HTTPSession.problem("nothing is at \(path); there are /health, /metrics and /admin/COMMAND"))
        default: answer(405, "application/json", HTTPSession.problem("only GET and POST are understood"))
        }
    }

    private static func problem(_ message: String) -> String {
        AdminValue.object([("error", .string(message))]).json + "\n"
    }

    /// Parses `a=b&c=d`, percent-decoded.
    static func arguments(_ query: String) -> [String: String] {
        var found: [String: String] = [:]
        for pair in query.split(separator: "&") {
            let sides = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            found[decoded(sides[0])] = sides.count > 1 ? decoded(sides[1]) : ""
        }
        return found
    }

    private static func decoded(_ text: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == 0x25, rest.count >= 2,
                let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
            {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte == 0x2b ? 0x20 : byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private func admin(_ command: String, _ arguments: [String: String]) {
        isWaiting = true
        let node = node
        node.background.run(.control) { [self] in
            var status = 200
            var body: String
            do {
                body = try AdminCommands(node: node).run(command, arguments).json + "\n"
            } catch let error as AdminError {
                status = error.status
                body = HTTPSession.problem(error.message)
            } catch {
                status = 500
                body = HTTPSession.problem("\(error)")
            }
            let (finalStatus, finalBody) = (status, body)
            connection.onLoop { [self] in
                isWaiting = false
                answer(finalStatus, "application/json", finalBody)
                if isClosing || inputHasEnded {
                    connection.closeAfterOutput()
                } else {
                    connection.markReady()
                    connection.resumeInput()
                }
            }
        }
    }

    private func answer(_ status: Int, _ type: String, _ body: String) {
        let reasons = [
            200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
            413: "Content Too Large", 431: "Request Header Fields Too Large", 500: "Internal Server Error",
            503: "Service Unavailable",
        ]
        out.write(
            "HTTP/1.1 \(status) \(reasons[status] ?? "")\r\nContent-Type: \(type)\r\nContent-Length: \(body.utf8.count)\r\n"
        )
        out.write(isClosing ? "Connection: close\r\n\r\n" : "\r\n")
        out.write(body)
    }

    func takeOutput(failure: String?, _ body: (UnsafeRawBufferPointer) -> Void) {
        body(out.bytes)
        out.removeAll()
    }

    func inputEnded(_ rest: UnsafeRawBufferPointer) {
        inputHasEnded = true
        if !isWaiting { connection.closeAfterOutput() }
    }

    func closed() {}
}
