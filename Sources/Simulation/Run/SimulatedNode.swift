import Logging
import Node
import Platform

import Primitives

/// One node of a simulated cluster: its machine, and the real server while it runs.
///
/// SAFETY: `@unchecked Sendable` because it belongs to a world, which one thread runs.
final class SimulatedNode: @unchecked Sendable {
    enum State { case down, starting, up, stopping }
    /// The role the operator assigns to a machine.
    enum Role {
        /// The machine runs no node.
        case vacant
        /// The node is a member or is becoming one.
        case member
        /// The node is not started again; it is removed or replaced.
        case condemned
    }

    let machine: Machine
    private let fabric: NetworkFabric
    private let settings: [String]
    /// Settings of this node only, such as its seeds.
    private var ownSettings: [String]
    private(set) var role: Role
    private(set) var state = State.down
    private(set) var server: NodeServer?
    private var background: SimulatedBackground?
    /// Host id of the node on the disk.
    private(set) var hostID: UUID?
    /// An epoch of the metadata in which the node is a member.
    private(set) var memberEpoch: UInt64?
    /// Why the last start failed.
    private(set) var startFailure: String?
    private(set) var starts = 0
    /// Whether to restart the node whenever it is down.
    var isWanted = false

    static let dataDirectory = "/data"

    /// - Parameters:
    ///   - settings: the common settings, as `key=value`.
    ///   - ownSettings: the settings of this node only; nil when the machine runs no node yet.
    init(machine: Machine, fabric: NetworkFabric, settings: [String], ownSettings: [String]?) {
        self.machine = machine
        self.fabric = fabric
        self.settings = settings
        self.ownSettings = ownSettings ?? []
        role = ownSettings == nil ? .vacant : .member
    }

    private var world: SimulatedWorld { machine.world }
    var name: String { "node \(machine.index)" }

    /// Starts the server process on fibers. The node is up when the server's `listen` has returned.
    func start() {
        guard state == .down, role == .member else { return }
        isWanted = true
        state = .starting
        starts += 1
        startFailure = nil
        let incarnation = machine.begin()
        let network = SimulatedNetwork(fabric: fabric, incarnation: incarnation, loops: 2)
        let background = SimulatedBackground(incarnation: incarnation)
        self.background = background
        let seed = world.random.next()
        world.tell("\(name): starts")
        background.run(.control) { [self] in
            do {
                let configuration = try NodeConfiguration.load(
                    path: nil, environment: [:], overrides: settings + ownSettings)
                let server = try NodeServer(
                    configuration: configuration, system: machine.disk, time: SimulatedTime(machine: machine),
                    background: background,
                    network: network, boot: machine.boot, seed: seed,
                    log: Logger(label: name, factory: { _ in WorldLogHandler(world: self.world, name: self.name) }))
                hostID = server.hostID
                try server.listen()
                self.server = server
                memberEpoch = server.metadataEpoch
                state = .up
                world.tell("\(name): serves; replayed \(server.replay.records) records of its commit log")
            } catch {
                startFailure = "\(error)"
                world.tell("\(name): does not start: \(error)")
                // End the process and try again later.
                end(losesPower: false)
                retry()
            }
        }
    }

    /// Starts a new node on an empty disk.
    func renew(_ ownSettings: [String]) {
        retire()
        self.ownSettings = ownSettings
        role = .member
        start()
    }

    /// Prevents the node from being started again.
    func condemn() {
        role = .condemned
        isWanted = false
    }

    /// Kills the node, empties its disk and frees the machine for another node.
    func retire() {
        condemn()
        kill(losesPower: false)
        machine.replaceDisk()
        hostID = nil
        memberEpoch = nil
        role = .vacant
    }

    /// Runs an operator's command on a fiber of the running process.
    func administer(_ work: @escaping @Sendable (NodeServer) -> Void) {
        guard state == .up, let server, let background else { return }
        background.run(.control) { work(server) }
    }

    private func retry() {
        world.after(2 * Nanoseconds.second) { [self] in if isWanted { start() } }
    }

    /// Kills the process at once.
    func kill(losesPower: Bool) {
        guard state != .down else { return }
        world.tell("\(name): \(losesPower ? "loses its power" : "is killed")")
        end(losesPower: losesPower)
    }

    private func end(losesPower: Bool) {
        guard let incarnation = machine.incarnation else { return }
        machine.end(losesPower: losesPower)
        fabric.processEnded(incarnation, losesPower: losesPower)
        server = nil
        state = .down
        machine.disk.death = nil
    }

    /// Shuts the process down in an orderly way.
    func stop(then: @escaping @Sendable () -> Void) {
        guard state == .up, let server else { return }
        state = .stopping
        world.tell("\(name): is shutting down")
        background?.run(.control) { [self] in
            server.drain()
            world.tell("\(name): has shut down")
            end(losesPower: false)
            then()
        }
    }
}

/// Writes a node's log to the world's log.
private struct WorldLogHandler: LogHandler {
    let world: SimulatedWorld
    let name: String
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.info

    init(world: SimulatedWorld, name: String) {
        self.world = world
        self.name = name
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        world.trace("\(name): \(event.level): \(event.message)")
    }
}
