import Platform

/// A machine of the simulated world: its disk, its clocks, and how it fares.
///
/// SAFETY: `@unchecked Sendable` because it belongs to a world, which one thread runs.
public final class Machine: @unchecked Sendable {
    public let index: Int
    public let address: String
    public let world: SimulatedWorld
    private(set) var disk: SimulatedDisk
    /// Nothing happens on the machine until then.
    private(set) var pausedUntil: UInt64 = 0
    /// What would have happened meanwhile.
    private var held: [Event] = []
    /// By how much the wall clock is wrong, in microseconds.
    var skewMicroseconds: Int64 = 0
    /// Where the monotonic clock stood when the world began.
    let monotonicStart: UInt64
    /// Identifies the run of the machine; another after a loss of power.
    private(set) var boot: UInt64 = 1
    /// The process that runs, or ran last.
    private(set) var incarnation: Incarnation?
    private var incarnations = 0

    /// The wall clock when the world begins: 14 November 2023.
    static let epochMicroseconds: Int64 = 1_700_000_000_000_000

    init(index: Int, address: String, world: SimulatedWorld) {
        self.index = index
        self.address = address
        self.world = world
        monotonicStart = world.random.nanoseconds(1...1_000_000) * Nanoseconds.second
        disk = SimulatedDisk(seed: world.random.next())
        disk.world = world
    }

    /// Puts an empty disk in the place of the one there was.
    func replaceDisk() {
        precondition(incarnation?.isAlive != true, "a process uses the disk")
        disk = SimulatedDisk(seed: world.random.next())
        disk.world = world
    }

    /// Lets the machine stand still, until a time if it does not already for longer.
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

    /// Keeps what happens on the machine until the pause is over.
    func hold(_ event: Event) { held.append(event) }

    /// Starts a process.
    func begin() -> Incarnation {
        precondition(incarnation?.isAlive != true, "a machine runs one process")
        incarnations += 1
        let new = Incarnation(machine: self, number: incarnations)
        incarnation = new
        return new
    }

    /// Ends the process at once. Of its disk, what was not synced stays with the kernel, or is lost with the power.
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

/// One process on a machine: what belongs to it is dropped when it dies.
///
/// SAFETY: `@unchecked Sendable` as `Machine`.
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
