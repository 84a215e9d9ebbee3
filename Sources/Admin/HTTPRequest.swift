import Client

/// One HTTP/1.1 request on a connection of its own.
struct HTTPRequest {
    static let maxAnswerBytes = 256 << 20

    var method: String
    var target: String

    /// Returns `path` with `arguments` as its percent-encoded query.
    static func target(_ path: String, _ arguments: [(name: String, value: String)]) -> String {
        if arguments.isEmpty { return path }
        return path + "?" + arguments.map { encoded($0.name) + "=" + encoded($0.value) }.joined(separator: "&")
    }

    private static func encoded(_ text: String) -> String {
        var out = ""
        for byte in text.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."),
                UInt8(ascii: "~"):
                out.unicodeScalars.append(Unicode.Scalar(byte))
            default: out += "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
            }
        }
        return out
    }

    /// Sends the request and returns the answer's status and body.
    func send(host: String, port: UInt16, timeout: Duration) throws(AdminError) -> (status: Int, body: [UInt8]) {
        var answer: [UInt8] = []
        do throws(ClientError) {
            let socket = try Socket(host: host, port: port)
            socket.setReadTimeout(timeout)
            let text = Array(
                ("\(method) \(target) HTTP/1.1\r\nHost: \(socket.address)\r\nAuspex-Admin: 1\r\nConnection: close\r\n"
                    + "Content-Length: 0\r\n\r\n").utf8)
            try HTTPRequest.send(text, socket)
            try HTTPRequest.receive(&answer, socket, timeout)
        } catch {
            throw .client(error)
        }
        return try HTTPRequest.parse(answer)
    }

    private static func send(_ bytes: [UInt8], _ socket: borrowing Socket) throws(ClientError) {
        var rest = bytes
        while !rest.isEmpty {
            let outcome = try rest.withUnsafeBytesTyped { (raw) throws(ClientError) -> Socket.Outcome in
                try socket.write(raw)
            }
            switch outcome {
            case .moved(let count): rest.removeFirst(count)
            case .notReady: _ = try socket.wait(forRoom: true, timeout: .seconds(30))
            case .ended: throw .closed(address: socket.address, reason: "closed by the server")
            }
        }
    }

    private static func receive(_ answer: inout [UInt8], _ socket: borrowing Socket, _ timeout: Duration)
        throws(ClientError)
    {
        while answer.count < maxAnswerBytes {
            var failure: ClientError?
            var outcome = Socket.Outcome.ended
            let chunk = [UInt8](unsafeUninitializedCapacity: 64 << 10) { room, count in
                do throws(ClientError) {
                    outcome = try socket.read(into: .init(room), isWaiting: true)
                    if case .moved(let got) = outcome { count = got }
                } catch { failure = error }
            }
            if let failure { throw failure }
            switch outcome {
            case .moved: answer += chunk
            case .ended: return
            case .notReady: throw .timeout(address: socket.address, after: timeout)
            }
            if isWhole(answer) { return }
        }
    }

    /// Returns whether the body is as long as the head states.
    private static func isWhole(_ answer: [UInt8]) -> Bool {
        guard let (head, bodyStart) = head(answer), let length = length(head) else { return false }
        return answer.count - bodyStart >= length
    }

    private static func head(_ answer: [UInt8]) -> ([Substring], Int)? {
        guard
            let end = answer.indices.dropLast(3).first(where: {
                answer[$0...].prefix(4).elementsEqual([13, 10, 13, 10])
            })
        else {
            return nil
        }
        let text = String(decoding: answer[..<end], as: UTF8.self)
        return (text.split(whereSeparator: \.isNewline), end + 4)
    }

    private static func length(_ head: [Substring]) -> Int? {
        for line in head.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            if parts.count == 2, parts[0].lowercased() == "content-length" { return Int(parts[1].filter { $0 != " " }) }
        }
        return nil
    }

    /// Parses a complete answer into its status and body.
    static func parse(_ answer: [UInt8]) throws(AdminError) -> (status: Int, body: [UInt8]) {
        guard let (head, bodyStart) = head(answer), let words = head.first?.split(separator: " "), words.count >= 2,
            words[0].hasPrefix("HTTP/1."), let status = Int(words[1])
        else { throw .notANode("the answer is not HTTP") }
        let body = Array(answer[bodyStart...])
        guard let length = length(head) else { return (status, body) }
        guard length >= 0, body.count >= length else {
            throw .notANode("the answer ended after \(body.count) of \(length) bytes")
        }
        return (status, Array(body[..<length]))
    }
}
