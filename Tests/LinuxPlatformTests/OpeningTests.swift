import Glibc
import NIOCore
import Platform
import Synchronization
import Testing

@testable import LinuxPlatform

/// How a port treats the first byte of a connection, with handlers that are simpler than TLS.
@Suite struct OpeningTests {
    /// A cipher for tests: removes the first byte and swaps the case of letters.
    final class Cipher: ChannelDuplexHandler {
        typealias InboundIn = ByteBuffer
        typealias InboundOut = ByteBuffer
        typealias OutboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer
        private var hasBegun = false

        private static func turned(_ buffer: ByteBuffer) -> ByteBuffer {
            ByteBuffer(bytes: buffer.readableBytesView.map { $0 ^ 0x20 })
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            var buffer = unwrapInboundIn(data)
            if !hasBegun { buffer.moveReaderIndex(forwardBy: 1) }
            hasBegun = true
            context.fireChannelRead(wrapInboundOut(Cipher.turned(buffer)))
        }

        func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
            context.write(wrapOutboundOut(Cipher.turned(unwrapOutboundIn(data))), promise: promise)
        }
    }

    /// Sends its input back, or `refused` when the connection is plaintext where it must be encrypted.
    final class Echo: ConnectionHandler {
        private let connection: any Connection
        private var out: [UInt8] = []
        init(_ connection: any Connection) { self.connection = connection }
        var isPaused: Bool { false }

        func receive(_ input: UnsafeRawBufferPointer) -> Int {
            out += input
            connection.markReady()
            return input.count
        }

        func takeOutput(failure: String?, _ body: (UnsafeRawBufferPointer) -> Void) {
            out.withUnsafeBytes { body($0) }
            out = []
        }

        func encryptionFailed(_ failure: EncryptionFailure) {
            if failure.otherIsPlain { out += Array("refused".utf8) }
        }

        func inputEnded(_ rest: UnsafeRawBufferPointer) { connection.closeAfterOutput() }
        func closed() {}
    }

    /// Returns what a port answers to `text`.
    static func answer(_ text: String, at encryption: Encryption, fails: Bool = false) throws -> String {
        struct NoCertificates: Error {}
        let network = LoopNetwork(
            loops: 1,
            clients: ChannelEncryption(
                accepting: { _ in if fails { throw NoCertificates() } else { [Cipher()] } },
                connecting: { _, _ in [Cipher()] }))
        defer { network.stop() }
        let disk = LoopNetworkTests.ScriptedDisk()
        let listener = try network.listen(host: "127.0.0.1", port: 0, encryption: encryption, acknowledgement: disk) {
            Echo($0)
        }
        let client = LoopNetworkTests.Client(port: listener.port)
        defer { close(client.socket) }
        client.write(text)
        client.end()
        return client.read(100)
    }

    @Test func plainAndEncryptedAtEachKindOfPort() throws {
        #expect(try Self.answer("abc", at: .none) == "abc")
        #expect(try Self.answer("\u{16}abc", at: .none) == "\u{16}abc")
        #expect(try Self.answer("abc", at: .optional(.clients)) == "abc")
        #expect(try Self.answer("\u{16}abc", at: .optional(.clients)) == "abc")
        #expect(try Self.answer("abc", at: .required(.clients)) == "refused")
        #expect(try Self.answer("\u{16}abc", at: .required(.clients)) == "abc")
        #expect(try Self.answer("", at: .required(.clients)) == "")
        #expect(try Self.answer("\u{16}abc", at: .required(.clients), fails: true) == "")
    }

    /// The first byte, which decides, may arrive alone.
    @Test func handshakeMayBeginWithASingleByte() throws {
        let network = LoopNetwork(
            loops: 1, clients: ChannelEncryption(accepting: { _ in [Cipher()] }, connecting: { _, _ in [] }))
        defer { network.stop() }
        let disk = LoopNetworkTests.ScriptedDisk()
        let listener = try network.listen(
            host: "127.0.0.1", port: 0, encryption: .required(.clients), acknowledgement: disk
        ) { Echo($0) }
        let client = LoopNetworkTests.Client(port: listener.port)
        defer { close(client.socket) }
        client.write("\u{16}")
        usleep(20_000)
        client.write("a")
        #expect(client.read(1) == "a")
        client.write("bc")
        #expect(client.read(2) == "bc")
    }

    @Test func networkWithoutCertificatesRefuses() throws {
        let network = LoopNetwork(loops: 1)
        defer { network.stop() }
        #expect(throws: NetworkError.self) {
            try network.listen(host: "127.0.0.1", port: 0, encryption: .optional(.nodes), acknowledgement: nil) {
                Echo($0)
            }
        }
    }
}
