import Cluster
import Coordinator
import DataModel
import Messages
import Platform
import Primitives
import Storage
import Synchronization

/// Keeps mutations for nodes that missed them, and sends them when those nodes are up.
///
/// 1. Hints go to the disk (`HintStore`); files are read and written on background threads.
/// 2. `HintDispatch` decides what is sent to whom and when; its events are handled on loop 0.
/// 3. Mutations of which the node is no replica any more, or whose node is no member, are written to the present
///    replicas instead.
///
/// **Thread safety**: all methods, from any thread.
/// SAFETY: `@unchecked` because `dispatch`, `sessions` and `isTicking` are touched on loop 0 only.
final class HintHandoff: @unchecked Sendable {
    let store: HintStore
    private let local: LocalNode
    private let metadata: MetadataStore
    private let liveness: Liveness
    private let storage: StorageEngine
    private let peers: PeerClient
    private let driver: LoopDriver
    private let network: any Network
    private let background: any Background
    private let time: any TimeSource
    private let log: OperatorLog
    private let flushPeriod: UInt64
    private let isEnabled: Bool
    private var dispatch: HintDispatch
    private var sessions: [UUID: (number: UInt64, reader: HintReader)] = [:]
    private var isTicking = false
    private let isClosed = Atomic<Bool>(false)
    /// Nodes to which hints are sent a second from now.
    private let soon = Mutex<Set<UUID>>([])
    /// Callers that wait until hints are on the disk, and whether a thread is writing for them.
    private let writing = Mutex<(waiting: [@Sendable (String?) -> Void], isBusy: Bool)>(([], false))

    static let tick: UInt64 = 100_000_000

    /// - Parameter driver: that of loop 0.
    init(
        configuration: NodeConfiguration, store: HintStore, local: LocalNode, metadata: MetadataStore,
        liveness: Liveness, storage: StorageEngine, peers: PeerClient, driver: LoopDriver, network: any Network,
        background: any Background, time: any TimeSource, log: OperatorLog
    ) {
        self.store = store
        self.local = local
        self.metadata = metadata
        self.liveness = liveness
        self.storage = storage
        self.peers = peers
        self.driver = driver
        self.network = network
        self.background = background
        self.time = time
        self.log = log
        isEnabled = configuration.hintedHandoffEnabled
        flushPeriod = UInt64(max(1000, configuration.hintsFlushPeriod.microseconds)) * 1000
        var options = HintDispatchOptions()
        options.bytesPerSecond = configuration.hintedHandoffThrottle
        dispatch = HintDispatch(options: options)
    }

    /// Begins to write hints now and then, and to send those of the last run.
    func start() {
        if isEnabled { flushPeriodically() }
        for target in store.targets() where canBeSent(to: target.id) { sendSoon(to: target.id) }
    }

    /// Whether a node takes hints, or others do in its place because it is no longer a member.
    private func canBeSent(to node: UUID) -> Bool {
        liveness.isAlive(node) || metadata.endpoint(of: node) == nil
    }

    func close() {
        if isClosed.exchange(true, ordering: .acquiringAndReleasing) { return }
        do { try store.close() } catch { log.report("hints cannot be written: \(error)", level: .error) }
    }

    // MARK: Writing

    private func flushPeriodically() {
        network.schedule(loop: 0, nanoseconds: flushPeriod) { [weak self] in
            guard let self, !self.isClosed.load(ordering: .relaxed) else { return }
            guard self.store.bufferedBytes > 0 else { return self.flushPeriodically() }
            self.background.run(.sync) {
                self.write()
                self.flushPeriodically()
            }
        }
    }

    /// Writes buffered hints; waits for the disk.
    /// - Returns: why it could not.
    @discardableResult func write() -> String? {
        do throws(StorageError) { try store.sync() } catch {
            log.report("hints cannot be written: \(error)", level: .error)
            return "\(error)"
        }
        return nil
    }

    /// Calls back when the hints kept until now are on the disk, or with the reason why they are not; one write serves
    /// all callers that wait.
    private func whenWritten(_ done: @escaping @Sendable (String?) -> Void) {
        let isFirst = writing.withLock { writing in
            writing.waiting.append(done)
            defer { writing.isBusy = true }
            return !writing.isBusy
        }
        if isFirst { background.run(.sync) { [self] in writeForAll() } }
    }

    private func writeForAll() {
        while true {
            let these = writing.withLock { writing in
                let these = writing.waiting
                writing.waiting = []
                if these.isEmpty { writing.isBusy = false }
                return these
            }
            if these.isEmpty { return }
            let failure = write()
            for done in these { done(failure) }
        }
    }

    // MARK: Keeping

    /// Keeps mutations for a node.
    /// - Parameter writtenAt: seconds since 1970; nil: now.
    /// - Returns: false when a limit stands against it.
    func keep(for node: UUID, _ mutations: [UInt8], writtenAt: UInt32?) -> Bool {
        let downSince = liveness.downSince(node)
        guard isEnabled, node != local.hostID, !isClosed.load(ordering: .relaxed) else { return false }
        do throws(StorageError) {
            let isKept = try mutations.withUnsafeBytesTyped { (bytes) throws(StorageError) in
                try store.add(
                    target: node, mutations: bytes, createdAt: writtenAt ?? time.wallSeconds(),
                    graceSeconds: storage.leastGrace(of: bytes), downSince: downSince)
            }
            // A node that is up has only been slow: it gets what it missed soon.
            if isKept && downSince == nil { sendInASecond(to: node) }
            return isKept
        } catch {
            log.report("hints cannot be kept: \(error)")
            return false
        }
    }

    /// Keeps mutations for a node that is down, for another coordinator that counts on it; `done` is called on the loop
    /// when they are on the disk.
    func keep(
        _ mutations: [UInt8], for node: UUID, loop: Int, _ done: @escaping @Sendable (PeerReply) -> Void
    ) {
        guard metadata.current?.member(node) != nil else {
            return done(.failed(.unknown, "this node knows no member \(node)"))
        }
        guard keep(for: node, mutations, writtenAt: nil) else {
            return done(
                .failed(
                    .overloaded,
                    "hints for \(node) are limited or off here, or it has been down for longer than max_hint_window"))
        }
        whenWritten { [network] failure in
            network.onLoop(loop) { done(failure.map { .failed(.storage, $0) } ?? .done) }
        }
    }

    // MARK: Sending

    /// Begins to send what is kept for a node: it is up, or has left and others take its hints.
    func sendSoon(to node: UUID) {
        background.run(.sync) { [self] in
            write()
            network.onLoop(0) { [self] in handle(.nodeUp(node)) }
        }
    }

    /// Begins to send a second from now, however often it is called until then.
    private func sendInASecond(to node: UUID) {
        guard soon.withLock({ $0.insert(node).inserted }) else { return }
        network.schedule(loop: 0, nanoseconds: 1_000_000_000) { [weak self] in
            guard let self else { return }
            _ = self.soon.withLock { $0.remove(node) }
            self.sendSoon(to: node)
        }
    }

    /// Stops sending to a node, which is down.
    func nodeDown(_ node: UUID) { network.onLoop(0) { [self] in handle(.nodeDown(node)) } }

    /// Waits until what is kept for live nodes has arrived, before this node leaves for good; on a background thread.
    func sendRest(for seconds: Int) {
        for attempt in 0..<seconds * 10 {
            let waiting = store.targets().filter { canBeSent(to: $0.id) }
            // A request that has no reply yet may leave a hint.
            if waiting.isEmpty && !peers.hasRequestsUnderWay() { return }
            if attempt % 10 == 0 { for target in waiting { sendSoon(to: target.id) } }
            background.sleep(nanoseconds: 100_000_000)
        }
    }

    // MARK: On loop 0

    private func handle(_ event: HintDispatchEvent) {
        guard !isClosed.load(ordering: .relaxed) else { return }
        for effect in dispatch.handle(event, now: time.monotonicMicroseconds()) { perform(effect) }
        if dispatch.isActive && !isTicking {
            isTicking = true
            network.schedule(loop: 0, nanoseconds: HintHandoff.tick) { [weak self] in
                self?.isTicking = false
                self?.handle(.tick)
            }
        }
    }

    private func perform(_ effect: HintDispatchEffect) {
        switch effect {
        case .read(let node, let session, let maxBytes, let maxHints):
            let open = sessions[node].flatMap { $0.number == session ? $0.reader : nil }
            background.run(.control) { [self] in
                let reader = open ?? store.reader(for: node)
                let event: HintDispatchEvent
                do {
                    event = .read(node, session: session, try reader?.next(maxBytes: maxBytes, maxHints: maxHints))
                } catch {
                    log.report("hints cannot be read: \(error)", level: .error)
                    event = .readFailed(node, session: session)
                }
                network.onLoop(0) { [self] in
                    if let reader { sessions[node] = (session, reader) }
                    handle(event)
                }
            }
        case .send(let node, let batch, let hints): send(hints, of: batch, to: node)
        case .acknowledge(let node, let session, let position):
            guard let (number, reader) = sessions[node], number == session else { return }
            reader.acknowledge(upTo: position)
        case .finished(let node):
            sessions[node] = nil
            // Hints that were kept meanwhile.
            if store.targets().contains(where: { $0.id == node }) { return sendSoon(to: node) }
            guard metadata.endpoint(of: node) == nil else { return }
            background.run(.sync) { [self] in
                do { try store.remove(node) } catch {
                    log.report("hints for a node that has left cannot be removed: \(error)")
                }
            }
        }
    }

    /// Returns what is wrong with the mutations of a hint: its target would refuse them each time.
    private static func flaw(of hint: Hint) -> ByteError? {
        hint.mutations.withUnsafeBytes { bytes in
            do throws(ByteError) { try MutationReader.validate(bytes) } catch { return error }
            return nil
        }
    }

    private func send(_ hints: [Hint], of batch: UInt64, to node: UUID) {
        guard let view = driver.view else { return handle(.failed(node, batch: batch)) }
        let left = Countdown(hints.count)
        @Sendable func delivered(_ isDelivered: Bool) {
            if !isDelivered { left.hasFailed = true }
            left.count -= 1
            if left.count > 0 { return }
            let event: HintDispatchEvent =
                left.hasFailed ? .failed(node, batch: batch) : .delivered(node, batch: batch)
            network.onLoop(0) { [self] in handle(event) }
        }
        for hint in hints {
            if let error = HintHandoff.flaw(of: hint) {
                log.report(
                    "a hint for \(node) does not parse and is dropped: \(error); run auspex admin repair on that node",
                    level: .error)
                store.markNeedsRepair(node, since: hint.createdAt)
                delivered(true)
                continue
            }
            guard let endpoint = metadata.endpoint(of: node), view.isReplica(node, ofAll: hint.mutations) else {
                driver.run({ [driver] (coordinator) throws(ServerError) in
                    try coordinator.replay(
                        hint.mutations, writtenAt: hint.createdAt, cluster: view, now: driver.now)
                }) { result in
                    if case .success = result { delivered(true) } else { delivered(false) }
                }
                continue
            }
            let mutations =
                PlantedBugs.isOn(.hintsRestamped)
                ? HintHandoff.restamped(hint.mutations, at: time.wallMicroseconds()) : hint.mutations
            driver.ask(.hint(mutations), at: endpoint, wanted: node, timeout: 10_000_000, epoch: view.epoch) { reply in
                // A node may refuse a hint because one of the two does not know yet that a table was created or
                // dropped. The hint is sent again; they agree by then.
                if case .done = reply { delivered(true) } else { delivered(false) }
            }
        }
    }

    /// SAFETY: `@unchecked` because it is touched on loop 0 only.
    private final class Countdown: @unchecked Sendable {
        var count: Int
        var hasFailed = false
        init(_ count: Int) { self.count = count }
    }
}
