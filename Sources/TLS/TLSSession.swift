import NIOCore

/// The TLS state of one opened connection, without any I/O: bytes in, bytes out.
///
/// 1. `takeOutput` returns bytes to send to the other end; the first exist from the start.
/// 2. `receive` accepts bytes from the other end. `takeInput` then returns the decrypted ones, and there may be more
///    output.
/// 3. `send` accepts bytes to encrypt. Before the handshake is complete they are held back.
///
/// **Thread safety**: one owner at a time, on any thread.
public final class TLSSession {
    #if TLS
        private let channel: ByteChannel

        /// - Parameter host: the name or address connected to.
        public init(_ context: TLSContext, host: String) throws(TLSError) {
            let channel = ByteChannel(host: host)
            self.channel = channel
            // The channel owns the handlers, so they must not own it.
            let handlers = try context.connecting(to: host) { [unowned channel] why in channel.failure = why }
            do { try channel.open(handlers) } catch { throw .connection("TLS cannot begin: \(error)") }
        }

        deinit { channel.end() }

        /// Accepts bytes from the other end.
        public func receive(_ bytes: UnsafeRawBufferPointer) throws(TLSError) {
            // The library would take an empty read for the end of the connection.
            if bytes.count > 0 { channel.receive(bytes) }
            if let failure = channel.failure { throw .connection(failure) }
        }

        /// Accepts bytes for the other end.
        public func send(_ bytes: UnsafeRawBufferPointer) { channel.send(bytes) }

        /// Whether the handshake is complete.
        public var isEstablished: Bool { channel.isEstablished }

        /// The number of decrypted bytes not taken yet.
        public var inputCount: Int { channel.input.readableBytes }

        /// Moves as many decrypted bytes as fit into `room` and returns their number.
        public func takeInput(into room: UnsafeMutableRawBufferPointer) -> Int { channel.input.moveBytes(into: room) }

        /// Passes the bytes to send to `body` and drops them.
        public func takeOutput(_ body: (UnsafeRawBufferPointer) -> Void) {
            guard channel.output.readableBytes > 0 else { return }
            channel.output.withUnsafeReadableBytes(body)
            channel.output.clear()
        }

        public var hasOutput: Bool { channel.output.readableBytes > 0 }
    #else
        public init(_ context: TLSContext, host: String) throws(TLSError) { throw .notBuilt }
        public func receive(_ bytes: UnsafeRawBufferPointer) throws(TLSError) { throw .notBuilt }
        public func send(_ bytes: UnsafeRawBufferPointer) {}
        public var isEstablished: Bool { false }
        public var inputCount: Int { 0 }
        public func takeInput(into room: UnsafeMutableRawBufferPointer) -> Int { 0 }
        public func takeOutput(_ body: (UnsafeRawBufferPointer) -> Void) {}
        public var hasOutput: Bool { false }
    #endif
}

extension ByteBuffer {
    /// Moves as many bytes as fit from the front into `room` and returns their number.
    mutating func moveBytes(into room: UnsafeMutableRawBufferPointer) -> Int {
        let count = Swift.min(room.count, readableBytes)
        withUnsafeReadableBytes { bytes in room.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[..<count])) }
        moveReaderIndex(forwardBy: count)
        if readableBytes == 0 { clear() }
        return count
    }
}
