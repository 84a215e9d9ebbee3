import DataModel
import Glibc
import NativeProtocol
import Primitives
import Synchronization

/// The answer of a scripted server to a request.
public enum ScriptedAnswer: Sendable {
    case result(StatementResult)
    case prepared(PreparedDescription)
    case error(ServerError)
    /// No answer, ever.
    case silence
    /// Closes the connection.
    case hangUp
}

/// A CQL server that answers from a script, for tests of clients. Handshake and framing are real, data is not.
public final class ScriptedServer: Sendable {
    /// Receives a request: the CQL text, or the id of an EXECUTE as text, and the values.
    public typealias Script = @Sendable (_ text: String, _ values: ValueList, _ isPrepare: Bool) -> ScriptedAnswer

    public let port: UInt16
    private let listener: Int32
    private let script: Script
    private let speaksV5: Bool
    private let password: String?
    /// The number of requests, without the handshake.
    public let requests = Atomic<Int>(0)

    public init(speaksV5: Bool = true, password: String? = nil, script: @escaping Script) {
        self.script = script
        self.speaksV5 = speaksV5
        self.password = password
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = listener
        port = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                precondition(bind(listener, generic, size) == 0)
                precondition(listen(listener, 64) == 0)
                getsockname(listener, generic, &size)
            }
            return UInt16(bigEndian: pointer.pointee.sin_port)
        }
        spawn { [self] in
            while true {
                let peer = accept(listener, nil, nil)
                if peer < 0 { return }
                spawn { [self] in serve(peer) }
            }
        }
    }

    public func stop() {
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
    }

    private func spawn(_ body: @escaping @Sendable () -> Void) {
        final class Box: Sendable {
            let body: @Sendable () -> Void
            init(_ body: @escaping @Sendable () -> Void) { self.body = body }
        }
        var thread = pthread_t()
        pthread_create(
            &thread, nil,
            { argument in
                if let argument { Unmanaged<Box>.fromOpaque(argument).takeRetainedValue().body() }
                return nil
            }, Unmanaged.passRetained(Box(body)).toOpaque())
        pthread_detach(thread)
    }

    private func serve(_ peer: Int32) {
        defer { close(peer) }
        var decoder = FrameDecoder()
        var requests = RequestDecoder()
        var encoder = ResponseEncoder(version: .v4)
        var segments: SegmentEncoder?
        var buffer: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let got = recv(peer, &chunk, chunk.count, 0)
            if got <= 0 { return }
            buffer += chunk[..<got]
            var consumed = 0
            var frames = ByteWriter()
            var out = ByteWriter()
            var isClosing = false
            buffer.withUnsafeBytes { bytes in
                do throws(ProtocolError) {
                    while let frame = try decoder.next(bytes, consumed: &consumed) {
                        if frame.header.version == .v5 && !speaksV5 {
                            throw .unsupportedVersion(5, stream: frame.header.stream)
                        }
                        encoder.version = frame.header.version
                        let head = ResponseHead(stream: frame.header.stream)
                        let request: Request
                        do throws(ServerError) { request = try requests.decode(frame) } catch {
                            encoder.error(error, head, into: &frames)
                            continue
                        }
                        if case .startup(let options) = request {
                            if password == nil {
                                encoder.ready(head, into: &frames)
                            } else {
                                encoder.authenticate("Password", head, into: &frames)
                            }
                            out.write(frames.bytes)
                            frames.removeAll()
                            let compression =
                                FrameCompression(name: options.compression ?? "none", version: frame.header.version)
                                ?? .none
                            if frame.header.version == .v5 {
                                decoder.beginSegments(compression: compression)
                                segments = SegmentEncoder(compression: compression)
                            } else {
                                decoder.compression = compression
                                encoder.compression = compression
                            }
                            continue
                        }
                        if case .authResponse(let token) = request {
                            let good = token == [0] + Array("ann".utf8) + [0] + Array((password ?? "").utf8)
                            if good {
                                encoder.authSuccess(nil, head, into: &frames)
                            } else {
                                encoder.error(ServerError(.badCredentials, "no"), head, into: &frames)
                            }
                            continue
                        }
                        self.requests.add(1, ordering: .relaxed)
                        answer(request, frame, requests, head, &encoder, &frames, &isClosing)
                    }
                } catch {
                    ResponseEncoder.refusal(error, version: .v4, into: &frames)
                    isClosing = true
                }
            }
            buffer.removeFirst(consumed)
            if segments != nil { segments?.encode(frames.bytes, into: &out) } else { out.write(frames.bytes) }
            var sent = 0
            while sent < out.count {
                let count = send(peer, out.bytes.baseAddress.map { $0 + sent }, out.count - sent, Int32(MSG_NOSIGNAL))
                if count <= 0 { return }
                sent += count
            }
            if isClosing { return }
        }
    }

    private func answer(
        _ request: Request, _ frame: Frame, _ decoder: RequestDecoder, _ head: ResponseHead,
        _ encoder: inout ResponseEncoder,
        _ frames: inout ByteWriter, _ isClosing: inout Bool
    ) {
        func text(_ range: Range<Int>) -> String { String(decoding: frame.body[range], as: UTF8.self) }
        let answer: ScriptedAnswer
        switch request {
        case .query(let range): answer = script(text(range), decoder.options.values, false)
        case .prepare(let range, _): answer = script(text(range), ValueList(), true)
        case .execute(let id, _): answer = script(text(id), decoder.options.values, false)
        case .batch:
            var last = ScriptedAnswer.result(.void)
            for statement in decoder.batch.statements[..<decoder.batch.count] {
                if case .prepared(let id) = statement.source { last = script(text(id), statement.values, false) }
            }
            answer = last
        default: answer = .error(.invalid("not in the script"))
        }
        switch answer {
        case .result(let result):
            encoder.result(result, head, skipMetadata: decoder.options.skipMetadata, into: &frames)
        case .prepared(let description): encoder.prepared(description, head, into: &frames)
        case .error(let error): encoder.error(error, head, into: &frames)
        case .silence: break
        case .hangUp: isClosing = true
        }
    }
}
