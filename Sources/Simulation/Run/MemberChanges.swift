import Node
import Primitives

/// The operator of a simulated cluster: makes nodes join, leave, be removed and replaced, one after another, and
/// completes each change.
///
/// 1. At least as many members stay as there are replicas of a row. A removed or replaced node has lost its disk.
/// 2. A failed command is repeated; the operator may give up on a joining node.
/// 3. After `heal`, the change under way is completed (`isIdle`) and no new one begins.
///
/// SAFETY: `@unchecked Sendable` because it belongs to a world, which one thread runs.
final class MemberChanges: @unchecked Sendable {
    private enum Change: String { case join, leave, remove, replace }

    private let cluster: SimulatedCluster
    private var isOver = false
    private var isRunning = false
    /// A description of the change under way; nil when there is none.
    private(set) var underWay: String?
    /// The number of changes begun.
    private(set) var count = 0
    private var world: SimulatedWorld { cluster.world }

    init(cluster: SimulatedCluster) { self.cluster = cluster }

    var isIdle: Bool { underWay == nil && !isRunning }

    func begin() {
        isRunning = true
        cluster.run { [self] in
            sleep(0...10)
            while !isOver {
                sweep()
                if isOver { break }
                if let change = choose() {
                    count += 1
                    make(change)
                    underWay = nil
                }
                sleep(0...8)
            }
            isRunning = false
        }
    }

    /// Begins no further change and kills condemned nodes.
    func heal() {
        isOver = true
        for node in cluster.nodes where node.role == .condemned { node.kill(losesPower: false) }
    }

    /// Whether every member knows exactly the current members, and no change of the ring is under way.
    var isSettled: Bool {
        let members = cluster.members
        let ids = Set(members.compactMap(\.hostID))
        return members.allSatisfy { node in
            guard let server = node.server else { return false }
            return server.isRingSettled && Set(server.memberStates.map(\.id)) == ids
                && server.memberStates.allSatisfy { $0.state == "normal" }
        }
    }

    /// Completes changes that were given up, until `isSettled` or the deadline. Call it on a fiber.
    func settle(until deadline: UInt64) {
        while !isSettled && world.now < deadline {
            sweep()
            sleep(1...3)
        }
    }

    /// The members as each node knows them, one line per node.
    var description: [String] {
        cluster.members.map { node in
            let states = node.server?.memberStates.map { member in
                let name = cluster.nodes.first { $0.hostID == member.id }?.name ?? "\(member.id)"
                return "\(name) \(member.state)"
            }
            return "\(node.name) (\(node.state)): \(states?.joined(separator: ", ") ?? "nothing")"
                + (node.server?.isRingSettled == false ? ", not settled" : "")
        }
    }

    // MARK: The changes

    private func choose() -> Change? {
        let members = cluster.members.count
        var changes: [Change] = []
        if cluster.nodes.contains(where: { $0.role == .vacant }) { changes.append(.join) }
        if members > cluster.replicas { changes.append(.leave) }
        // The data of a dead node must exist on other nodes.
        if cluster.replicas >= 3 {
            if members > cluster.replicas { changes.append(.remove) }
            changes.append(.replace)
        }
        return changes.isEmpty ? nil : world.random.pick(changes)
    }

    private func make(_ change: Change) {
        switch change {
        case .join: join(world.random.pick(cluster.nodes.filter { $0.role == .vacant }), replacing: nil)
        case .leave: leave(world.random.pick(cluster.members))
        case .remove: remove(world.random.pick(cluster.members))
        case .replace: replace(world.random.pick(cluster.members))
        }
    }

    private func begin(_ text: String) {
        underWay = text
        world.tell("members: \(text)")
    }

    private func done(_ text: String) { world.tell("members: \(text)") }

    /// - Parameter dead: host id of the member to replace.
    private func join(_ node: SimulatedNode, replacing dead: UUID?) {
        begin("\(node.name) joins" + (dead.map { " to replace \($0)" } ?? ""))
        let seeds = world.random.shuffled(cluster.members.filter { $0 !== node }.map(\.machine)).prefix(3)
        node.renew([SimulatedCluster.seeds(Array(seeds))] + (dead.map { ["replace_node=\($0)"] } ?? []))
        let patience = world.now + world.random.nanoseconds(20 * Nanoseconds.second...200 * Nanoseconds.second)
        while node.state != .up {
            sleep(0.2...1)
            if world.now > patience && !isOver && dead == nil {
                begin("\(node.name) is given up while joining")
                node.condemn()
                node.kill(losesPower: world.random.happens(0.5))
                if let id = node.hostID { forget(id) }
                node.retire()
                return done("\(node.name) was given up")
            }
        }
        done("\(node.name) has joined")
    }

    private func leave(_ node: SimulatedNode) {
        begin("\(node.name) leaves")
        while true {
            if isGone(node) { break }
            switch command(node, { try $0.leaveCluster() }) {
            case .success:
                node.retire()
                return done("\(node.name) has left")
            case .failure(let error): world.tell("members: \(node.name) cannot leave: \(error)")
            case nil:
                if node.state == .down && !isOver && cluster.replicas >= 3 && world.random.happens(0.1) {
                    return remove(node)
                }
            }
            sleep(0.5...3)
        }
        node.retire()
        done("\(node.name) had left already")
    }

    private func remove(_ node: SimulatedNode) {
        guard let id = node.hostID else { return }
        begin("\(node.name), host id \(id), is lost for good and is removed")
        lose(node)
        forget(id)
        node.retire()
        done("\(node.name) is removed")
    }

    private func replace(_ node: SimulatedNode) {
        guard let id = node.hostID, let epoch = node.memberEpoch, epoch > 0 else { return }
        begin("\(node.name), host id \(id), is lost for good and is replaced")
        let vacant = cluster.nodes.filter { $0.role == .vacant }
        node.condemn()
        node.kill(losesPower: true)
        sleep(0...5)
        if vacant.isEmpty || world.random.happens(0.5) { return join(node, replacing: id) }
        let heir = world.random.pick(vacant)
        join(heir, replacing: id)
        node.retire()
    }

    /// Kills the node, or cuts it off from the other nodes but not from clients.
    private func lose(_ node: SimulatedNode) {
        node.condemn()
        if isOver || node.state == .down || world.random.happens(0.7) {
            return node.kill(losesPower: world.random.happens(0.5))
        }
        world.tell("members: \(node.name) is cut off")
        for other in cluster.nodes where other !== node {
            cluster.fabric.set(node.machine, other.machine) { $0.isBlocked = true }
            cluster.fabric.set(other.machine, node.machine) { $0.isBlocked = true }
        }
        world.after(40 * Nanoseconds.second) { if node.role == .condemned { node.kill(losesPower: true) } }
    }

    /// Has another member remove a node that no longer runs, whatever its state.
    private func forget(_ id: UUID) {
        while true {
            sleep(0.5...4)
            guard let helper = randomMember() else { continue }
            if command(helper, { try $0.removeMember(id) }).map({ if case .success = $0 { true } else { false } })
                ?? false
            {
                return
            }
            guard let server = helper.server else { continue }
            // Not a member any more: a command that seemed to fail removed it, or it was never admitted.
            if !server.memberStates.contains(where: { $0.id == id && $0.state != "left" }) { return }
        }
    }

    /// Removes members that run on no machine. A change whose result was not awaited may have been made later.
    private func sweep() {
        guard let helper = randomMember(), let server = helper.server else { return }
        let ids = cluster.nodes.compactMap(\.hostID)
        for member in server.memberStates where !ids.contains(member.id) && member.state != "left" {
            world.tell("members: \(member.id) is \(member.state), but runs on no machine")
            _ = command(helper) { try $0.removeMember(member.id) }
        }
    }

    // MARK: Commands

    private func randomMember() -> SimulatedNode? {
        let up = cluster.members.filter { $0.state == .up }
        return up.isEmpty ? nil : world.random.pick(up)
    }

    /// Returns whether any member knows a version of the metadata in which a former member is gone.
    private func isGone(_ node: SimulatedNode) -> Bool {
        guard let id = node.hostID, let epoch = node.memberEpoch else { return false }
        return cluster.members.contains { other in
            guard other !== node, let server = other.server, server.metadataEpoch >= epoch else { return false }
            return !server.memberStates.contains { $0.id == id && $0.state != "left" }
        }
    }

    /// The result of a command.
    ///
    /// SAFETY: `@unchecked Sendable` as `MemberChanges`.
    private final class Answer<Value>: @unchecked Sendable {
        var result: Result<Value, any Error>?
    }

    /// Runs a command on a node and waits for its result; nil when the node is not up or dies meanwhile.
    func command<Value>(
        _ node: SimulatedNode, _ work: @escaping @Sendable (NodeServer) throws -> Value
    ) -> Result<Value, any Error>? {
        guard node.state == .up else { return nil }
        let start = node.starts
        let answer = Answer<Value>()
        node.administer { server in answer.result = Result { try work(server) } }
        while answer.result == nil {
            world.sleep(100 * Nanoseconds.millisecond)
            if answer.result == nil && (node.starts != start || node.state == .down) { return nil }
        }
        if case .failure(let error) = answer.result { world.trace("members: \(node.name) says: \(error)") }
        return answer.result
    }

    private func sleep(_ seconds: ClosedRange<Double>) {
        world.sleep(world.random.nanoseconds(UInt64(seconds.lowerBound * 1e9)...UInt64(seconds.upperBound * 1e9)))
    }
}
