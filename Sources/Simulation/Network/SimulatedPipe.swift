/// The bytes in flight in one direction of a connection.
///
/// SAFETY: `@unchecked Sendable`, see `SimulatedNetwork`.
final class SimulatedPipe: @unchecked Sendable {
    private enum Item {
        case bytes([UInt8])
        case end
    }

    private let fabric: NetworkFabric
    private let from: SimulatedConnection
    private var to: SimulatedConnection?
    /// Items sent before the other end was attached.
    private var early: [Item] = []
    /// Items in flight, in order; each scheduled arrival delivers the first.
    private var items: [Item] = []
    /// The number of arrivals held back by a blocked link.
    private var stalled = 0
    private var lastArrival: UInt64 = 0
    /// Bytes sent and not yet consumed by the other end.
    private(set) var underWay = 0

    init(fabric: NetworkFabric, from: SimulatedConnection) {
        self.fabric = fabric
        self.from = from
    }

    func attach(_ to: SimulatedConnection) {
        self.to = to
        let waiting = early
        early = []
        for item in waiting { launch(item) }
    }

    func send(_ bytes: [UInt8]) {
        underWay += bytes.count
        var start = 0
        while start < bytes.count {
            let most = fabric.world.random.happens(0.05) ? 40 : NetworkFabric.largestChunk
            let count = min(bytes.count - start, most == 40 ? fabric.world.random.int(1...40) : most)
            launch(.bytes(Array(bytes[start..<start + count])))
            start += count
        }
    }

    func end() { launch(.end) }

    private func launch(_ item: Item) {
        guard to != nil else { return early.append(item) }
        items.append(item)
        scheduleArrival()
    }

    private func scheduleArrival() {
        guard let to else { return }
        lastArrival = max(lastArrival + 1, fabric.world.now + fabric.latency(from.machine, to.machine))
        fabric.world.after(lastArrival - fabric.world.now) { [self] in arrive() }
    }

    private func arrive() {
        guard let to, !from.isBroken, let item = items.first else { return }
        if stalled > 0 || fabric.condition(from.machine, to.machine).isBlocked {
            if stalled == 0 { fabric.stall(self) }
            stalled += 1
            return
        }
        items.removeFirst()
        guard !to.isGone else {
            // The other end is closed: the sender finds its connection broken. A dead process does not answer.
            if case .bytes = item, !to.isSilent { from.breakSoon() }
            return
        }
        switch item {
        case .bytes(let bytes): to.arrived(bytes)
        case .end: to.endArrived()
        }
    }

    func isBetween(_ from: Machine, _ to: Machine) -> Bool { self.from.machine === from && self.to?.machine === to }

    /// Schedules the held-back arrivals again after the link was unblocked.
    func retransmit() {
        let arrivals = stalled
        stalled = 0
        for _ in 0..<arrivals { scheduleArrival() }
    }

    /// The other end has consumed bytes.
    func taken(_ count: Int) {
        let before = underWay
        underWay -= count
        if before > NetworkFabric.lowWater && underWay <= NetworkFabric.lowWater { from.writabilityChanged() }
    }
}
