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
    /// What a blocked link holds back.
    private var stalled: [Item] = []
    private var lastArrival: UInt64 = 0
    /// Bytes sent and not yet taken in by the other end.
    private(set) var underWay = 0

    init(fabric: NetworkFabric, from: SimulatedConnection) {
        self.fabric = fabric
        self.from = from
    }

    func attach(_ to: SimulatedConnection) {
        self.to = to
        let items = early
        early = []
        for item in items { launch(item) }
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
        guard let to else { return early.append(item) }
        lastArrival = max(lastArrival + 1, fabric.world.now + fabric.latency(from.machine, to.machine))
        fabric.world.after(lastArrival - fabric.world.now) { [self] in arrive(item) }
    }

    private func arrive(_ item: Item) {
        guard let to, !to.isGone else {
            // Nobody is there any more: the sender is told, if it still is.
            if case .bytes = item, let to, !to.isSilent { from.breakSoon() }
            return
        }
        if from.isBroken { return }
        if !stalled.isEmpty || fabric.condition(from.machine, to.machine).isBlocked { return stalled.append(item) }
        switch item {
        case .bytes(let bytes): to.arrived(bytes)
        case .end: to.endArrived()
        }
    }

    /// The link is whole again.
    func retransmit() {
        let items = stalled
        stalled = []
        for item in items { launch(item) }
    }

    /// The other end took bytes in.
    func taken(_ count: Int) {
        let before = underWay
        underWay -= count
        if before > NetworkFabric.lowWater && underWay <= NetworkFabric.lowWater { from.writabilityChanged() }
    }
}
