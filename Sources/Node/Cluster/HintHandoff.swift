import DataModel
import Messages
import Platform
import Primitives
import Storage
import Synchronization

/// Keeps mutations for nodes that missed them, and sends them when those are up.
///
/// What is kept for a node that is no replica of it any more, or no member, is written anew to those who are.
/// What the dispatch decides is handled on loop 0; files are read and written on background threads.
///
/// **Thread safety**: all methods, from any thread.
/// SAFETY: `@unchecked` because `dispatch`, `sessions` and `isTicking` are touched on loop 0 only, and `cluster` is set before anything begins.
final class HintHandoff: @unchecked Sendable {
    let store: HintStore
    private let network: any Network
    private let background: any Background
    private let time: any TimeSource
    private let flushPeriod: UInt64
    private let isEnabled: Bool
    private unowned var cluster: ClusterService?
    private var dispatch: HintDispatch
    private var sessions: [UUID: (number: UInt64, reader: HintReader)] = [:]
    private var isTicking = false
    private let isClosed = Atomic<Bool>(false)
    private let soon = Mutex<Set<UUID>>([])
    /// Who waits for what is kept to be on the disk, and whether a thread sees to it.
    private let writing = Mutex<(waiting: [@Sendable (String?) -> Void], isBusy: Bool)>(([], false))

    static let tick: UInt64 = 100_000_000

    init(
        store: HintStore, configuration: NodeConfiguration, network: any Network, background: any Background, time: any TimeSource
    ) {
        self.store = store
        self.network = network
        self.background = background
        self.time = time
        isEnabled = configuration.hintedHandoffEnabled
        flushPeriod = UInt64(max(1000, configuration.hintsFlushPeriod.microseconds)) * 1000
        var options = HintDispatchOptions()
        options.bytesPerSecond = configuration.hintedHandoffThrottle
        dispatch = HintDispatch(options: options)
    }

    func attach(_ cluster: ClusterService) { self.cluster = cluster }

    /// Begins to write what is kept, and to send what was left by the last run.
    func start() {
        if isEnabled { flushPeriodically() }
        for target in store.targets() where mayBeSent(target.id) { isUp(target.id) }
    }

    /// Whether a node takes hints, or others do in its place because it is no longer a member.
    private func mayBeSent(_ node: UUID) -> Bool {
        guard let cluster else { return false }
        return cluster.isAlive(node) || cluster.endpoint(of: node) == nil
    }

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

    /// Writes what is kept; waits for the disk.
    /// - Returns: why it could not.
    @discardableResult func write() -> String? {
        do throws(StorageError) { try store.sync() } catch {
            cluster?.tell("hints cannot be written: \(error)", level: .error)
            return "\(error)"
        }
        return nil
    }

    /// Calls back when what is kept until now is on the disk, or why it is not; what many wait for is written at once.
    func whenWritten(_ done: @escaping @Sendable (String?) -> Void) {
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

    /// Keeps mutations for a node.
    /// - Parameters:
    ///   - writtenAt: seconds since 1970; nil: now.
    ///   - downSince: nil while it counts as up.
    /// - Returns: false when a limit stands against it.
    func keep(for node: UUID, _ mutations: [UInt8], writtenAt: UInt32?, downSince: UInt32?) -> Bool {
        guard isEnabled, let cluster, node != cluster.hostID, !isClosed.load(ordering: .relaxed) else { return false }
        do throws(StorageError) {
            let isKept = try mutations.withUnsafeBytesTyped { (bytes) throws(StorageError) in
                try store.add(
                    target: node, mutations: bytes, createdAt: writtenAt ?? time.wallSeconds(), graceSeconds: grace(of: bytes),
                    downSince: downSince)
            }
            // A node that is up has only been slow: it gets what it missed soon.
            if isKept && downSince == nil { isUpSoon(node) }
            return isKept
        } catch {
            cluster.tell("hints are not kept: \(error)")
            return false
        }
    }

    /// The smallest `gc_grace_seconds` of the tables: after that the hint could bring a deleted row back.
    func grace(of mutations: UnsafeRawBufferPointer) -> UInt32 {
        var least = UInt32.max
        var reader = MutationReader(mutations)
        do throws(ByteError) {
            while try reader.nextTable() {
                if let table = cluster?.storage.table(reader.table) { least = min(least, table.options.gcGraceSeconds) }
            }
        } catch { return 0 }  // not reached: a coordinator wrote it
        return least == .max ? 864_000 : least
    }

    /// A node takes hints, or has left and others take them in its place.
    func isUp(_ node: UUID) {
        background.run(.sync) { [self] in
            write()
            network.onLoop(0) { [self] in handle(.nodeUp(node)) }
        }
    }

    /// A second from now, however often it is said until then.
    private func isUpSoon(_ node: UUID) {
        guard soon.withLock({ $0.insert(node).inserted }) else { return }
        network.schedule(loop: 0, nanoseconds: 1_000_000_000) { [weak self] in
            guard let self else { return }
            _ = self.soon.withLock { $0.remove(node) }
            self.isUp(node)
        }
    }

    func isDown(_ node: UUID) { network.onLoop(0) { [self] in handle(.nodeDown(node)) } }

    /// Waits until what is kept for nodes that live has arrived, before the node leaves for good; on a background thread.
    func sendRest(for seconds: Int) {
        for attempt in 0..<seconds * 10 {
            let waiting = store.targets().filter { mayBeSent($0.id) }
            // A request that has no reply yet may leave a hint.
            if waiting.isEmpty && cluster?.hasRequestsUnderWay() != true { return }
            if attempt % 10 == 0 { for target in waiting { isUp(target.id) } }
            background.sleep(nanoseconds: 100_000_000)
        }
    }

    func close() {
        if isClosed.exchange(true, ordering: .acquiringAndReleasing) { return }
        do { try store.close() } catch { cluster?.tell("hints cannot be written: \(error)", level: .error) }
    }

    // MARK: On loop 0

    private func handle(_ event: HintDispatchEvent) {
        guard !isClosed.load(ordering: .relaxed), let cluster else { return }
        for effect in dispatch.handle(event, now: cluster.now) { perform(effect, cluster) }
        if dispatch.isActive && !isTicking {
            isTicking = true
            network.schedule(loop: 0, nanoseconds: HintHandoff.tick) { [weak self] in
                self?.isTicking = false
                self?.handle(.tick)
            }
        }
    }

    private func perform(_ effect: HintDispatchEffect, _ cluster: ClusterService) {
        switch effect {
        case .read(let node, let session, let maxBytes, let maxHints):
            let open = sessions[node].flatMap { $0.number == session ? $0.reader : nil }
            background.run(.control) { [self] in
                let reader = open ?? store.reader(for: node)
                let event: HintDispatchEvent
                do { event = .read(node, session: session, try reader?.next(maxBytes: maxBytes, maxHints: maxHints)) } catch {
                    cluster.tell("hints cannot be read: \(error)", level: .error)
                    event = .readFailed(node, session: session)
                }
                network.onLoop(0) { [self] in
                    if let reader { sessions[node] = (session, reader) }
                    handle(event)
                }
            }
        case .send(let node, let batch, let hints): send(hints, of: batch, to: node, cluster)
        case .acknowledge(let node, let session, let position):
            guard let (number, reader) = sessions[node], number == session else { return }
            reader.acknowledge(upTo: position)
        case .finished(let node):
            sessions[node] = nil
            // What came meanwhile.
            if store.targets().contains(where: { $0.id == node }) { return isUp(node) }
            guard cluster.endpoint(of: node) == nil else { return }
            background.run(.sync) { [self] in
                do { try store.remove(node) } catch { cluster.tell("hints of a node that has left remain: \(error)") }
            }
        }
    }

    private func send(_ hints: [Hint], of batch: UInt64, to node: UUID, _ cluster: ClusterService) {
        let driver = cluster.drivers[0]
        guard let view = driver.view else { return handle(.failed(node, batch: batch)) }
        let left = Countdown(hints.count)
        @Sendable func delivered(_ isDelivered: Bool) {
            if !isDelivered { left.hasFailed = true }
            left.count -= 1
            if left.count > 0 { return }
            let event: HintDispatchEvent = left.hasFailed ? .failed(node, batch: batch) : .delivered(node, batch: batch)
            network.onLoop(0) { [self] in handle(event) }
        }
        for hint in hints {
            guard let endpoint = cluster.endpoint(of: node), view.isReplica(node, ofAll: hint.mutations) else {
                driver.run({ (coordinator) throws(ServerError) in
                    try coordinator.replay(hint.mutations, writtenAt: hint.createdAt, cluster: view, now: driver.now)
                }) { result in
                    if case .success = result { delivered(true) } else { delivered(false) }
                }
                continue
            }
            let mutations = PlantedBugs.isOn(.hintsRestamped) ? stamped(hint.mutations, at: time.wallMicroseconds()) : hint.mutations
            driver.ask(.hint(mutations), at: endpoint, wanted: node, timeout: 10_000_000, epoch: view.epoch) { reply in
                // One of the two may not have heard of a table's making or its end: later they agree, and what is of no table is left out above.
                if case .done = reply { delivered(true) } else { delivered(false) }
            }
        }
    }

    /// The same rows, written at another time: what `PlantedBug.hintsRestamped` does to them.
    private func stamped(_ mutations: [UInt8], at time: Int64) -> [UInt8] {
        var changed = mutations
        mutations.withUnsafeBytes { bytes in
            var reader = MutationReader(bytes)
            do throws(ByteError) {
                while try reader.nextTable() {
                    while let operation = try reader.nextOperation() {
                        guard case .row(_, let row) = operation, RowView(row).flags.contains(.hasBase), let base = bytes.baseAddress,
                            let start = row.baseAddress
                        else { continue }
                        let place = start - base + 1
                        withUnsafeBytes(of: time.littleEndian) { changed.replaceSubrange(place..<place + 8, with: $0) }
                    }
                }
            } catch {}  // not reached: a coordinator wrote it
        }
        return changed
    }

    /// SAFETY: `@unchecked` because it is touched on loop 0 only.
    private final class Countdown: @unchecked Sendable {
        var count: Int
        var hasFailed = false
        init(_ count: Int) { self.count = count }
    }
}
