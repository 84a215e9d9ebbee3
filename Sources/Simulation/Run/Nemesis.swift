/// Injects random faults, chosen by the seed, until `heal`.
///
/// SAFETY: `@unchecked Sendable` because it belongs to a world, which one thread runs.
final class Nemesis: @unchecked Sendable {
    private let cluster: SimulatedCluster
    private let kinds: [FaultKind]
    /// Changes the members, if that is among the faults.
    let members: MemberChanges
    private let changesMembers: Bool
    private var isOver = false
    private var strikes = 0
    var faultCount: Int { strikes + members.count }
    /// The longest time between two faults, in nanoseconds.
    private let pace: UInt64
    private var world: SimulatedWorld { cluster.world }

    init(cluster: SimulatedCluster, kinds: [FaultKind]) {
        self.cluster = cluster
        // With periodic syncs, a power loss may lose unsynced writes; killing the process may not.
        self.kinds = kinds.filter { ($0 != .crash || cluster.survivesPowerLoss) && $0 != .members }
        changesMembers = kinds.contains(.members)
        members = MemberChanges(cluster: cluster)
        pace = cluster.world.random.pick([1, 2, 4, 8]) * Nanoseconds.second
    }

    func begin() {
        if changesMembers { members.begin() }
        if kinds.isEmpty { return }
        world.after(world.random.nanoseconds(0...3 * Nanoseconds.second)) { [self] in next() }
    }

    private func next() {
        if isOver || cluster.members.isEmpty { return }
        strike(world.random.pick(kinds))
        world.after(world.random.nanoseconds(50 * Nanoseconds.millisecond...pace)) { [self] in next() }
    }

    /// Ends all faults and starts the nodes that are down.
    func heal() {
        isOver = true
        world.tell("heal: all faults end, and all nodes are started")
        cluster.fabric.heal()
        members.heal()
        for node in cluster.members {
            node.machine.disk.faults = SimulatedDisk.Faults()
            node.machine.disk.death = nil
            node.machine.goOn()
            node.machine.skewMicroseconds = max(-100_000, min(100_000, node.machine.skewMicroseconds))
            node.start()
        }
    }

    private func seconds(_ range: ClosedRange<Double>) -> UInt64 {
        world.random.nanoseconds(UInt64(range.lowerBound * 1e9)...UInt64(range.upperBound * 1e9))
    }

    /// Runs `work` after a time, unless `heal` has ended all faults by then.
    private func later(_ delay: UInt64, _ work: @escaping () -> Void) {
        world.after(delay) { [self] in if !isOver { work() } }
    }

    private func restart(_ node: SimulatedNode, after delay: UInt64) {
        // The node was being stopped when all faults ended.
        if isOver { return node.start() }
        node.isWanted = false
        later(delay) { node.start() }
    }

    func strike(_ kind: FaultKind) {
        strikes += 1
        let node = world.random.pick(cluster.members)
        switch kind {
        case .crash: crash(node)
        case .kill:
            node.kill(losesPower: false)
            restart(node, after: seconds(0.01...10))
        case .restart:
            let delay = seconds(0.01...5)
            node.stop { [self] in restart(node, after: delay) }
        case .blackout:
            let losesPower = cluster.survivesPowerLoss && world.random.happens(0.5)
            world.tell("fault: blackout")
            for node in cluster.members {
                later(seconds(0...0.01)) { [self] in
                    node.kill(losesPower: losesPower)
                    restart(node, after: seconds(0.1...3))
                }
            }
        case .pause:
            let duration = seconds(0.05...8)
            world.tell("\(node.name): pauses for \(duration / 1_000_000) ms")
            node.machine.pause(until: world.now + duration)
        case .partition, .oneway, .flap, .slow, .breaks: strikeNetwork(kind, node)
        case .skew:
            let skew = Int64(world.random.int(-400_000...400_000))
            world.tell("\(node.name): its clock is wrong by \(skew / 1000) ms")
            node.machine.skewMicroseconds = skew
        case .jump:
            let jump = Int64(world.random.int(-5_000_000...5_000_000))
            world.tell("\(node.name): its clock jumps by \(jump / 1000) ms")
            node.machine.skewMicroseconds += jump
            later(seconds(1...20)) { node.machine.skewMicroseconds = 0 }
        case .readerrors, .writeerrors, .syncerrors, .full, .slowdisk, .cold, .rot: strikeDisk(kind, node)
        case .upkeep: upkeep(node)
        case .members: break  // unreachable: `members` has its own schedule
        }
    }

    private func upkeep(_ node: SimulatedNode) {
        let compacts = world.random.happens(0.2)
        world.tell("\(node.name): its tables are \(compacts ? "compacted" : "flushed")")
        node.administer { [world] server in
            // Fails on a full or failing disk and on a node that is stopping.
            do { try server.flushOrCompactTables(compacts: compacts) } catch {
                world.trace("\(node.name): upkeep: \(error)")
            }
        }
    }

    private func crash(_ node: SimulatedNode) {
        let delay = seconds(0.05...10)
        // Half of the crashes happen during a disk operation.
        if world.random.happens(0.5), node.state != .down {
            let operations = world.random.int(0...60)
            node.machine.disk.death = (
                operations,
                { [self] in
                    world.tell("\(node.name): crashes during a disk operation")
                    node.kill(losesPower: true)
                    restart(node, after: delay)
                }
            )
        } else {
            node.kill(losesPower: true)
            restart(node, after: delay)
        }
    }

    private func strikeNetwork(_ kind: FaultKind, _ node: SimulatedNode) {
        let fabric = cluster.fabric
        let machine = node.machine
        let others = (cluster.present.map(\.machine) + [cluster.clientMachine]).filter { $0 !== machine }
        let other = world.random.pick(others)
        let duration = seconds(0.1...15)
        switch kind {
        case .partition:
            // Cuts off one or more nodes from the others; clients reach both sides.
            let nodes = world.random.shuffled(cluster.present.map(\.machine))
            let side = Array(nodes.prefix(world.random.int(1...max(1, nodes.count / 2))))
            let rest = nodes.count == side.count ? [cluster.clientMachine] : Array(nodes.dropFirst(side.count))
            world.tell("fault: \(side.map(\.index).sorted()) are partitioned from \(rest.map(\.index).sorted())")
            for a in side { for b in rest { block(a, b, true) } }
            later(duration) { [self] in
                world.tell("fault: the partition of \(side.map(\.index).sorted()) heals")
                for a in side { for b in rest { block(a, b, false) } }
            }
        case .oneway:
            world.tell("fault: nothing from \(machine.index) reaches \(other.index)")
            fabric.set(machine, other) { $0.isBlocked = true }
            later(duration) { fabric.set(machine, other) { $0.isBlocked = false } }
        case .flap:
            world.tell("fault: the link of \(machine.index) and \(other.index) flaps")
            flap(machine, other, times: world.random.int(3...12))
        case .slow:
            let slowness = world.random.nanoseconds(10...500)
            world.tell("fault: the links of \(machine.index) are \(slowness) times slower")
            for other in others {
                fabric.set(machine, other) { $0.slowness = slowness }
                fabric.set(other, machine) { $0.slowness = slowness }
            }
            later(duration) {
                for other in others {
                    fabric.set(machine, other) { $0.slowness = 1 }
                    fabric.set(other, machine) { $0.slowness = 1 }
                }
            }
        default:
            world.tell("fault: connections of \(machine.index) break, others stall or are refused")
            fabric.breakConnections { [self] in $0.machine === machine && world.random.happens(0.7) }
            fabric.stallChance = 0.02
            fabric.refusalChance = 0.2
            later(duration) {
                fabric.stallChance = 0
                fabric.refusalChance = 0
            }
        }
    }

    private func block(_ a: Machine, _ b: Machine, _ isBlocked: Bool) {
        cluster.fabric.set(a, b) { $0.isBlocked = isBlocked }
        cluster.fabric.set(b, a) { $0.isBlocked = isBlocked }
        // A partition breaks some connections.
        if isBlocked {
            cluster.fabric.breakConnections { [self] in
                ($0.machine === a && $0.other?.machine === b || $0.machine === b && $0.other?.machine === a)
                    && world.random.happens(0.3)
            }
        }
    }

    private func flap(_ a: Machine, _ b: Machine, times: Int) {
        if times == 0 { return }
        block(a, b, true)
        later(seconds(0.05...1)) { [self] in
            block(a, b, false)
            later(seconds(0.05...1)) { [self] in flap(a, b, times: times - 1) }
        }
    }

    private func strikeDisk(_ kind: FaultKind, _ node: SimulatedNode) {
        let disk = node.machine.disk
        let duration = seconds(0.1...15)
        let chance = world.random.pick([0.001, 0.01, 0.1, 0.5])
        switch kind {
        case .readerrors:
            world.tell("\(node.name): reads fail with a chance of \(chance)")
            disk.faults.readErrors = chance
            later(duration) { disk.faults.readErrors = 0 }
        case .writeerrors:
            world.tell("\(node.name): writes fail with a chance of \(chance)")
            disk.faults.writeErrors = chance
            later(duration) { disk.faults.writeErrors = 0 }
        case .syncerrors:
            world.tell("\(node.name): syncs fail with a chance of \(chance)")
            disk.faults.syncErrors = chance
            later(duration) { [self] in
                disk.faults.syncErrors = 0
                // A commit log whose sync failed accepts no writes until the server restarts, so the operator restarts
                // it.
                node.kill(losesPower: false)
                restart(node, after: seconds(0.1...3))
            }
        case .full:
            world.tell("\(node.name): its disk is full")
            disk.faults.isFull = true
            later(duration) { disk.faults.isFull = false }
        case .slowdisk:
            let delay = world.random.nanoseconds(Nanoseconds.millisecond...500 * Nanoseconds.millisecond)
            world.tell("\(node.name): its disk takes up to \(delay / 1_000_000) ms")
            disk.faults.delayNanoseconds = delay
            later(duration) { disk.faults.delayNanoseconds = 0 }
        case .rot:
            if let path = disk.rot(under: SimulatedNode.dataDirectory + "/data", suffix: ".sst") {
                world.tell("\(node.name): a bit of \(path) flips")
            }
        default:
            world.tell("\(node.name): some of its reads miss the page cache")
            disk.faults.coldReads = world.random.pick([0.05, 0.3, 0.9])
            later(duration) { disk.faults.coldReads = 0 }
        }
    }
}
