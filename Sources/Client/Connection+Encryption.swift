import Primitives
import TLS

// Encryption of a connection: a TLS session between the protocol and the socket.
extension Connection {
    /// Performs the TLS handshake and returns the session.
    func beginEncryption(_ context: TLSContext) throws(ClientError) -> TLSSession {
        let session: TLSSession
        do { session = try TLSSession(context, host: options.host) } catch {
            throw .encryption(address: address, reason: error.description)
        }
        socket.setReadTimeout(options.connectTimeout)
        defer { socket.setReadTimeout(options.requestTimeout) }
        try sendEncrypted(session)
        while !session.isEstablished {
            guard try readEncrypted(session, isWaiting: true) else {
                throw .timeout(address: address, after: options.connectTimeout)
            }
            try sendEncrypted(session)
        }
        return session
    }

    /// Sends the session's output.
    func sendEncrypted(_ session: TLSSession) throws(ClientError) {
        while session.hasOutput {
            var bytes = ByteWriter(capacity: 16 << 10)
            session.takeOutput { bytes.write($0) }
            try sendToSocket(bytes.bytes)
        }
    }

    /// Reads available bytes and decrypts them; returns false when there were none.
    func readEncrypted(_ session: TLSSession, isWaiting: Bool) throws(ClientError) -> Bool {
        let outcome = try encrypted.fill(wanted: 32 << 10) {
            (room) throws(ClientError) -> (count: Int, result: Socket.Outcome) in
            let outcome = try socket.read(into: room, isWaiting: isWaiting)
            if case .moved(let count) = outcome { return (count, outcome) }
            return (0, outcome)
        }
        do throws(TLSError) { try session.receive(encrypted.bytes) } catch {
            // Send the TLS alert too, if the other end still reads.
            do throws(ClientError) { try sendEncrypted(session) } catch {}
            throw .encryption(address: address, reason: error.description)
        }
        encrypted.discard(encrypted.bytes.count)
        while session.inputCount > 0 {
            received.fill(wanted: session.inputCount) { room in (session.takeInput(into: room), ()) }
        }
        switch outcome {
        case .moved: return true
        case .notReady: return false
        case .ended where !session.isEstablished:
            throw .encryption(
                address: address,
                reason: "the server closed the connection during the TLS handshake; does it use TLS on this port?")
        case .ended: throw .closed(address: address, reason: "closed by the server")
        }
    }
}
