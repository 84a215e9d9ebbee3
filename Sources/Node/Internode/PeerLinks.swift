import Messages
import Platform
import Primitives

/// The outgoing connections of one loop to other nodes, opened when first needed.
///
/// Urgent, small and large messages have separate connections, so that a large message does not delay the others.
///
/// SAFETY: `@unchecked Sendable` because all state is accessed on its loop only.
final class PeerLinks: @unchecked Sendable {
    /// The connection that a message uses.
    enum Lane: Int, CaseIterable, Hashable {
        /// Gossip and metadata.
        case urgent
        case small
        /// Large requests, or requests for much data.
        case large
    }

    private struct Key: Hashable {
        let endpoint: Endpoint
        let lane: Lane
    }

    private let loop: Int
    private let network: any Network
    private let time: any TimeSource
    private let policy: PeerPolicy
    private let byteLimit: Int
    private let requestsSent: LoopCounter.Cell
    private let bytesSent: LoopCounter.Cell
    /// Receives replies and failures. Set before the first request.
    var answer: PeerLink.Answer = { _, _ in }
    private var links: [Key: PeerLink] = [:]
    /// The connections for small messages by host id; some may have ended.
    private var members: [UUID: PeerLink] = [:]
    /// The monotonic time, in microseconds, of the last connection to an address that failed before its welcome. No new
    /// attempt is made for a while.
    private var failedAt: [Endpoint: Int64] = [:]

    static let reconnectDelay: Int64 = 100_000
    static let largeFrom = 64 << 10

    init(
        loop: Int, network: any Network, time: any TimeSource, policy: PeerPolicy, byteLimit: Int
    ) {
        self.loop = loop
        self.network = network
        self.time = time
        self.policy = policy
        self.byteLimit = byteLimit
        requestsSent = policy.counters.requestsSent.cell(loop: loop)
        bytesSent = policy.counters.bytesSent.cell(loop: loop)
    }

    static func lane(of request: PeerRequest) -> Lane {
        switch request {
        case .gossip, .metadata: .urgent
        case .write(let bytes), .hint(let bytes), .repair(let bytes): bytes.count >= largeFrom ? .large : .small
        case .count(let bytes, _), .keepHint(_, let bytes): bytes.count >= largeFrom ? .large : .small
        case .propose(_, _, let bytes), .commit(_, _, let bytes): bytes.count >= largeFrom ? .large : .small
        case .read(let command): command.rowLimit > 256 ? .large : .small
        case .tree, .stream: .large
        case .storeBatch(let batch): batch.mutations.count >= largeFrom ? .large : .small
        case .digest, .prepare, .removeBatch: .small
        }
    }

    /// Like the method below, to a member: finds its connection for small messages by host id.
    func send(_ request: PeerRequest, to endpoint: Endpoint, of node: UUID, id: UInt64, timeout: Int64, epoch: UInt64) {
        guard PeerLinks.lane(of: request) == .small else {
            return send(request, to: endpoint, wanted: node, id: id, timeout: timeout, epoch: epoch)
        }
        if let link = members[node], !link.hasEnded, link.endpoint == endpoint {
            return send(request, on: link, id, timeout, epoch)
        }
        send(request, to: endpoint, wanted: node, id: id, timeout: timeout, epoch: epoch)
        members[node] = links[Key(endpoint: endpoint, lane: .small)]
    }

    /// Sends a request. Its reply, or a failure, is passed to `answer`, possibly before this returns.
    /// - Parameter wanted: the node expected at the address; nil: any node.
    func send(_ request: PeerRequest, to endpoint: Endpoint, wanted: UUID?, id: UInt64, timeout: Int64, epoch: UInt64) {
        let key = Key(endpoint: endpoint, lane: PeerLinks.lane(of: request))
        if let link = links[key], !link.hasEnded { return send(request, on: link, id, timeout, epoch) }
        let now = Int64(time.monotonicNanoseconds() / 1000)
        if let failed = failedAt[endpoint], now - failed < PeerLinks.reconnectDelay {
            return answer(id, .failed(.connectionLost, "\(endpoint) could not be reached a moment ago"))
        }
        open(key, wanted)
        guard let link = links[key] else {
            return answer(id, .failed(.connectionLost, "\(endpoint) cannot be reached"))
        }
        send(request, on: link, id, timeout, epoch)
    }

    private func send(_ request: PeerRequest, on link: PeerLink, _ id: UInt64, _ timeout: Int64, _ epoch: UInt64) {
        let bytes = link.send(request, id: id, timeout: timeout, epoch: epoch)
        requestsSent.add(1)
        bytesSent.add(bytes)
    }

    private func open(_ key: Key, _ wanted: UUID?) {
        var hello = policy.local.hello
        hello.wanted = wanted
        let compresses = policy.compresses(key.endpoint)
        let encryption = policy.encryption(key.endpoint)
        let link = PeerLink(
            endpoint: key.endpoint, hello: hello, compresses: compresses, byteLimit: byteLimit, answer: answer
        ) { [weak self] refusal, isWelcome in self?.ended(key, refusal, isWelcome) }
        links[key] = link
        network.connect(host: key.endpoint.address, port: key.endpoint.port, loop: loop, encryption: encryption) {
            connection in
            link.opened(connection)
            return link
        }
    }

    private func ended(_ key: Key, _ refusal: PeerError?, _ isWelcome: Bool) {
        if links[key]?.hasEnded ?? false { links[key] = nil }
        if !isWelcome { failedAt[key.endpoint] = Int64(time.monotonicNanoseconds() / 1000) }
        if let refusal { policy.noteRefusal(by: key.endpoint, refusal) }
    }

    /// Closes all connections to a node considered dead, so that waiting requests fail now.
    func close(_ endpoint: Endpoint) {
        members = members.filter { $0.value.endpoint != endpoint }
        for lane in Lane.allCases { links.removeValue(forKey: Key(endpoint: endpoint, lane: lane))?.close() }
    }

    func closeAll() {
        let all = links
        links = [:]
        members = [:]
        for link in all.values { link.close() }
    }
}
