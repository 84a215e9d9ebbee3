import Logging
import Node
import Platform

/// One node of a simulated cluster: its machine, and the real server while it runs.
///
/// SAFETY: `@unchecked Sendable` because it belongs to a world, of which one thread runs at a time.
final class SimulatedNode: @unchecked Sendable {
    enum State { case down, starting, up, stopping }

    let machine: Machine
    private let fabric: NetworkFabric
    private let settings: [String]
    private(set) var state = State.down
    private(set) var server: NodeServer?
    private var background: SimulatedBackground?
    /// Why the last start failed.
    private(set) var startFailure: String?
    private(set) var starts = 0
    /// Whether it is to be started again whenever it is down.
    var isWanted = false

    static let dataDirectory = "/data"

    /// - Parameter settings: of its configuration, as `key=value`.
    init(machine: Machine, fabric: NetworkFabric, settings: [String]) {
        self.machine = machine
        self.fabric = fabric
        self.settings = settings
    }

    private var world: SimulatedWorld { machine.world }
    var name: String { "node \(machine.index)" }

    /// Starts a process, whose code runs on fibers; it is up when its `listen` has returned.
    func start() {
        guard state == .down else { return }
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
                let configuration = try NodeConfiguration.load(path: nil, environment: [:], overrides: settings)
                let server = try NodeServer(
                    configuration: configuration, system: machine.disk, time: SimulatedTime(machine: machine), background: background,
                    network: network, boot: machine.boot, seed: seed,
                    log: Logger(label: name, factory: { _ in WorldLogHandler(world: self.world, name: self.name) }))
                try server.listen()
                self.server = server
                state = .up
                world.tell("\(name): serves; replayed \(server.replay.records) records of its commit log")
            } catch {
                startFailure = "\(error)"
                world.tell("\(name): does not start: \(error)")
                // The process ends, and somebody tries again.
                end(losesPower: false)
                retry()
            }
        }
    }

    private func retry() {
        world.after(2 * Nanoseconds.second) { [self] in if isWanted { start() } }
    }

    /// Ends the process at once.
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

    /// Ends the process in order.
    func stop(then: @escaping @Sendable () -> Void) {
        guard state == .up, let server else { return }
        state = .stopping
        world.tell("\(name): is stopped")
        background?.run(.control) { [self] in
            server.drain()
            world.tell("\(name): has stopped")
            end(losesPower: false)
            then()
        }
    }
}

/// Hands what a node says to the world's log.
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

    func log(
        level: Logger.Level, message: Logger.Message, metadata: Logger.Metadata?, source: String, file: String, function: String, line: UInt
    ) {
        world.trace("\(name): \(level): \(message)")
    }
}
