import NIOCore

/// The encryption of one connection that is opened from here, without any I/O: bytes in, bytes out.
///
/// 1. `output` has what must go to the other end; the first of it is there from the start.
/// 2. `receive` takes what came; what it means is in `input`, and there may be more output.
/// 3. `send` takes what is to be said; before the other end is known it waits.
///
/// **Thread safety**: one owner, who may be on another thread each time.
public final class TLSSession {
    #if TLS
        private let channel: ByteChannel

        /// - Parameter host: the name or address that was connected to.
        public init(_ context: TLSContext, host: String) throws(TLSError) {
            let channel = ByteChannel(host: host)
            self.channel = channel
            // The channel keeps the handlers, and they must not keep it.
            let handlers = try context.connecting(to: host) { [unowned channel] why in channel.failure = why }
            do { try channel.open(handlers) } catch { throw .connection("TLS cannot begin: \(error)") }
        }

        deinit { channel.end() }

        /// Takes bytes of the other end.
        public func receive(_ bytes: UnsafeRawBufferPointer) throws(TLSError) {
            // No bytes would be taken for the end of all.
            if bytes.count > 0 { channel.receive(bytes) }
            if let failure = channel.failure { throw .connection(failure) }
        }

        /// Takes bytes for the other end.
        public func send(_ bytes: UnsafeRawBufferPointer) { channel.send(bytes) }

        /// Whether the other end has shown who it is.
        public var isEstablished: Bool { channel.isEstablished }

        /// Bytes that came and were decrypted, and were not taken.
        public var inputCount: Int { channel.input.readableBytes }

        /// Moves decrypted bytes into `room`, as many as fit, and returns how many.
        public func takeInput(into room: UnsafeMutableRawBufferPointer) -> Int { channel.input.moveBytes(into: room) }

        /// Hands over what must be sent and forgets it.
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
    /// Moves bytes from the front into `room`, as many as fit, and returns how many.
    mutating func moveBytes(into room: UnsafeMutableRawBufferPointer) -> Int {
        let count = Swift.min(room.count, readableBytes)
        withUnsafeReadableBytes { bytes in room.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[..<count])) }
        moveReaderIndex(forwardBy: count)
        if readableBytes == 0 { clear() }
        return count
    }
}
