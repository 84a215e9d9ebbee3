import CLinux
import Glibc
import Primitives

/// A connected TCP socket.
///
/// It blocks only where a call says so. Polling before each read would double a client's system calls.
///
/// **Thread safety**: one owner.
public struct Socket: ~Copyable {
    /// The result of a read or a write.
    public enum Outcome: Equatable, Sendable {
        case moved(Int)
        /// The other side closed the connection.
        case ended
        case notReady
    }

    /// `host:port`, for messages.
    public let address: String
    let descriptor: Int32

    /// Connects, trying each address of `host`.
    public init(host: String, port: UInt16, timeout: Duration = .seconds(5)) throws(ClientError) {
        address = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV
        var list: UnsafeMutablePointer<addrinfo>?
        let status = getaddrinfo(host, String(port), &hints, &list)
        guard status == 0 else { throw .connect(address: address, reason: String(cString: gai_strerror(status))) }
        defer { freeaddrinfo(list) }
        var reason = "the name has no address"
        var candidate = list
        while let current = candidate {
            switch Socket.open(current.pointee, timeout) {
            case .success(let descriptor):
                self.descriptor = descriptor
                return
            case .failure(let failure): reason = systemMessage(failure.code)
            }
            candidate = current.pointee.ai_next
        }
        throw .connect(address: address, reason: reason)
    }

    deinit { close(descriptor) }

    private struct Failure: Error { let code: Int32 }

    private static func open(_ address: addrinfo, _ timeout: Duration) -> Result<Int32, Failure> {
        let descriptor = socket(
            address.ai_family, address.ai_socktype | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue),
            address.ai_protocol)
        guard descriptor >= 0 else { return .failure(Failure(code: errno)) }
        var one: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
        if Glibc.connect(descriptor, address.ai_addr, address.ai_addrlen) != 0 {
            guard errno == EINPROGRESS else {
                let code = errno
                close(descriptor)
                return .failure(Failure(code: code))
            }
            var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            let ready = poll(&wait, 1, timeout.pollMilliseconds)
            var code: Int32 = ready == 0 ? ETIMEDOUT : 0
            var size = socklen_t(MemoryLayout<Int32>.size)
            if ready > 0 {
                getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size)
            } else if ready < 0 {
                code = errno
            }
            guard code == 0 else {
                close(descriptor)
                return .failure(Failure(code: code))
            }
        }
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) & ~O_NONBLOCK)
        return .success(descriptor)
    }

    /// Reads available bytes, at most as many as fit `room`.
    /// - Parameter isWaiting: whether to wait for bytes, at most for the time set by `setReadTimeout`; then the outcome
    ///   is `notReady`.
    public func read(into room: UnsafeMutableRawBufferPointer, isWaiting: Bool) throws(ClientError) -> Outcome {
        while true {
            let got = recv(descriptor, room.baseAddress, room.count, isWaiting ? 0 : Int32(MSG_DONTWAIT))
            if got > 0 { return .moved(got) }
            if got == 0 { return .ended }
            switch errno {
            case EINTR: continue
            case EAGAIN: return .notReady
            default: throw .closed(address: address, reason: systemMessage(errno))
            }
        }
    }

    /// Sets the timeout of a waiting read; nil: none.
    public func setReadTimeout(_ timeout: Duration?) {
        var value = timeval()
        if let timeout {
            let (seconds, attoseconds) = timeout.components
            value = timeval(tv_sec: Int(seconds), tv_usec: Int(attoseconds / 1_000_000_000_000))
            if value.tv_sec == 0 && value.tv_usec == 0 { value.tv_usec = 1 }
        }
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &value, socklen_t(MemoryLayout<timeval>.size))
    }

    /// Writes as many bytes as the system accepts now.
    public func write(_ bytes: UnsafeRawBufferPointer) throws(ClientError) -> Outcome {
        while true {
            let sent = send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
            if sent >= 0 { return .moved(sent) }
            switch errno {
            case EINTR: continue
            case EAGAIN: return .notReady
            default: throw .closed(address: address, reason: systemMessage(errno))
            }
        }
    }

    /// Waits until bytes can be read or, with `forRoom`, written.
    /// - Parameter timeout: nil: no limit.
    /// - Returns: false when the time ran out.
    public func wait(forRoom: Bool = false, timeout: Duration?) throws(ClientError) -> Bool {
        let events = Int16(POLLIN) | (forRoom ? Int16(POLLOUT) : 0)
        let (seconds, attoseconds) = (timeout ?? .zero).components
        let limit = timeout == nil ? -1 : max(0, seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
        while true {
            let ready = auspex_poll_nanoseconds(descriptor, events, limit)
            if ready > 0 { return true }
            if ready == 0 { return false }
            if ready != -EINTR { throw .closed(address: address, reason: systemMessage(-ready)) }
        }
    }
}

extension Duration {
    /// The duration in whole milliseconds for poll(2), rounded up.
    var pollMilliseconds: Int32 {
        let (seconds, attoseconds) = components
        let milliseconds =
            seconds.multipliedReportingOverflow(by: 1000).partialValue + (attoseconds + 999_999_999_999_999)
            / 1_000_000_000_000_000
        return Int32(clamping: max(0, milliseconds))
    }
}
