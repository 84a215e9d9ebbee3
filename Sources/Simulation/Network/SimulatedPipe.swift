/// Bytes under way in one direction of a connection.
///
/// SAFETY: `@unchecked Sendable` as `SimulatedNetwork`.
final class SimulatedPipe: @unchecked Sendable {
    private enum Item {
        case bytes([UInt8])
        case end
    }

    private let fabric: NetworkFabric
    private let from: SimulatedConnection
    private var to: SimulatedConnection?
    /// What was sent before the other end was there.
    private var early: [Item] = []
    /// What is under way, in order: each arrival is of the first.
    private var items: [Item] = []
    /// Arrivals that a blocked link holds back.
    private var stalled = 0
    private var lastArrival: UInt64 = 0
    /// Bytes sent and not yet taken in by the other end.
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
            // Nobody is there any more: the sender is told, if it still is.
            if case .bytes = item, !to.isSilent { from.breakSoon() }
            return
        }
        switch item {
        case .bytes(let bytes): to.arrived(bytes)
        case .end: to.endArrived()
        }
    }

    func isBetween(_ from: Machine, _ to: Machine) -> Bool { self.from.machine === from && self.to?.machine === to }

    /// The link is whole again.
    func retransmit() {
        let arrivals = stalled
        stalled = 0
        for _ in 0..<arrivals { scheduleArrival() }
    }

    /// The other end took bytes in.
    func taken(_ count: Int) {
        let before = underWay
        underWay -= count
        if before > NetworkFabric.lowWater && underWay <= NetworkFabric.lowWater { from.writabilityChanged() }
    }
}
