import Platform

/// A machine of the simulated world: its disk, its clocks and its process.
///
/// SAFETY: `@unchecked Sendable` because it belongs to a world, which one thread runs.
public final class Machine: @unchecked Sendable {
    public let index: Int
    public let address: String
    public let world: SimulatedWorld
    private(set) var disk: SimulatedDisk
    /// The machine is paused until this time.
    private(set) var pausedUntil: UInt64 = 0
    /// Events of the machine deferred by a pause.
    private var held: [Event] = []
    /// The error of the wall clock, in microseconds.
    var skewMicroseconds: Int64 = 0
    /// The monotonic clock's value when the world began, in nanoseconds.
    let monotonicStart: UInt64
    /// The boot number; a power loss increases it.
    private(set) var boot: UInt64 = 1
    /// The running process, or the last one.
    private(set) var incarnation: Incarnation?
    private var incarnations = 0

    /// The wall-clock time at which the world begins: 14 November 2023.
    static let epochMicroseconds: Int64 = 1_700_000_000_000_000

    init(index: Int, address: String, world: SimulatedWorld) {
        self.index = index
        self.address = address
        self.world = world
        monotonicStart = world.random.nanoseconds(1...1_000_000) * Nanoseconds.second
        disk = SimulatedDisk(seed: world.random.next())
        disk.world = world
    }

    /// Replaces the disk by an empty one.
    func replaceDisk() {
        precondition(incarnation?.isAlive != true, "a process uses the disk")
        disk = SimulatedDisk(seed: world.random.next())
        disk.world = world
    }

    /// Pauses the machine until a time, or longer if it is paused for longer already.
    func pause(until time: UInt64) {
        guard time > pausedUntil else { return }
        pausedUntil = time
        world.after(time - world.now) { [self] in if pausedUntil <= world.now { goOn() } }
    }

    /// Ends a pause.
    func goOn() {
        pausedUntil = 0
        let events = held
        held = []
        world.release(events)
    }

    /// Defers an event until the pause ends.
    func hold(_ event: Event) { held.append(event) }

    /// Starts a process.
    func begin() -> Incarnation {
        precondition(incarnation?.isAlive != true, "a machine runs one process")
        incarnations += 1
        let new = Incarnation(machine: self, number: incarnations)
        incarnation = new
        return new
    }

    /// Ends the process at once. Unsynced data stays in the kernel's cache, unless the machine loses power.
    func end(losesPower: Bool) {
        incarnation?.isAlive = false
        if losesPower {
            boot += 1
            disk.losePower()
        } else {
            disk.releaseLocks()
        }
    }
}

/// One process on a machine. Events that belong to it are dropped when it dies.
///
/// SAFETY: `@unchecked Sendable`, see `Machine`.
public final class Incarnation: @unchecked Sendable {
    public let machine: Machine
    let number: Int
    fileprivate(set) var isAlive = true

    fileprivate init(machine: Machine, number: Int) {
        self.machine = machine
        self.number = number
    }

    var world: SimulatedWorld { machine.world }
}

/// A machine's clocks.
public struct SimulatedTime: TimeSource {
    let machine: Machine

    public init(machine: Machine) { self.machine = machine }

    public func wallMicroseconds() -> Int64 {
        Machine.epochMicroseconds + Int64(machine.world.now / 1_000) + machine.skewMicroseconds
    }

    public func monotonicNanoseconds() -> UInt64 { machine.monotonicStart &+ machine.world.now }
}
