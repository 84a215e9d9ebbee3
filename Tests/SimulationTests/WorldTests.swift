import Platform
import Testing

@testable import Simulation

/// A simulated world with machines and nothing else.
final class EmptyWorld {
    let world: SimulatedWorld
    let fabric: NetworkFabric
    let machines: [Machine]

    init(machines count: Int = 2, seed: UInt64 = 1) {
        world = SimulatedWorld(seed: seed, log: SimulationLog(detail: .result) { _ in })
        fabric = NetworkFabric(world: world)
        machines = (1...count).map { [world] in Machine(index: $0, address: "127.0.0.\($0)", world: world) }
        for machine in machines { fabric.add(machine) }
    }

    func network(_ index: Int, onThreads: Bool = true) -> SimulatedNetwork {
        SimulatedNetwork(
            fabric: fabric, incarnation: machines[index].incarnation ?? machines[index].begin(), loops: 1,
            onThreads: onThreads)
    }
}

/// Events in the order in which they happened. SAFETY: a simulated world runs on one thread.
final class Record: @unchecked Sendable {
    var lines: [String] = []
    var resume: (@Sendable () -> Void)?
}

@Suite struct WorldTests {
    @Test func timePassesOnlyWhileFibersWait() {
        let empty = EmptyWorld()
        let record = Record()
        let background = SimulatedBackground(incarnation: empty.machines[0].begin())
        for name in ["a", "b"] {
            background.run(.control) { [world = empty.world] in
                record.lines.append("\(name) begins")
                let before = world.now
                background.sleep(nanoseconds: name == "a" ? 2_000_000 : 1_000_000)
                record.lines.append("\(name) slept \((world.now - before) / 1_000_000)")
            }
        }
        empty.world.run(atMost: 1_000_000_000)
        #expect(Set(record.lines.prefix(2)) == ["a begins", "b begins"])
        #expect(Array(record.lines.suffix(2)) == ["b slept 1", "a slept 2"])
        empty.world.end()
    }

    @Test func resumeBeforeWaitIsNotLost() {
        let empty = EmptyWorld()
        let record = Record()
        let background = SimulatedBackground(incarnation: empty.machines[0].begin())
        background.run(.control) {
            background.wait { resume in resume() }
            record.lines.append("at once")
            background.wait { resume in record.resume = resume }
            record.lines.append("later")
        }
        empty.world.run(atMost: 1_000_000_000)
        #expect(record.lines == ["at once"])
        background.run(.control) { record.resume?() }
        // A second call does nothing.
        background.run(.control) { record.resume?() }
        empty.world.run(atMost: 1_000_000_000)
        #expect(record.lines == ["at once", "later"])
        empty.world.end()
    }

    @Test func workOfDeadMachineNeverRuns() {
        let empty = EmptyWorld()
        let record = Record()
        let background = SimulatedBackground(incarnation: empty.machines[0].begin())
        background.run(.control) {
            background.sleep(nanoseconds: 1_000_000)
            record.lines.append("never")
        }
        empty.world.run(atMost: 500_000)
        empty.machines[0].end(losesPower: true)
        background.run(.control) { record.lines.append("neither") }
        empty.world.run(atMost: 1_000_000_000)
        #expect(record.lines.isEmpty)
        #expect(empty.world.abandonedThreads == 1)
        empty.world.end()
    }

    @Test func machineMayDieWithinADiskCall() throws {
        let empty = EmptyWorld()
        let record = Record()
        let machine = empty.machines[0]
        let background = SimulatedBackground(incarnation: machine.begin())
        machine.disk.death = (2, { machine.end(losesPower: true) })
        background.run(.control) {
            do {
                for number in 0..<10 {
                    let file = try machine.disk.open("/\(number)", .create)
                    record.lines.append("made \(number)")
                    file.close()
                }
            } catch { record.lines.append("\(error)") }
        }
        empty.world.run(atMost: 1_000_000_000)
        #expect(record.lines == ["made 0", "made 1"])
        #expect(empty.world.abandonedThreads == 1)
        empty.world.end()
    }

    @Test func concurrencyIsLimitedByTheNumberOfThreads() {
        let empty = EmptyWorld()
        let record = Record()
        let background = SimulatedBackground(incarnation: empty.machines[0].begin())
        for number in 0..<6 {
            background.run(.sync) {
                record.lines.append("\(number)")
                background.sleep(nanoseconds: 10_000_000)
            }
        }
        empty.world.run(atMost: 5_000_000)
        #expect(record.lines.count == SimulatedBackground.limit(.sync))
        empty.world.run(atMost: 100_000_000)
        #expect(record.lines.count == 6)
        empty.world.end()
    }

    @Test func pausedMachineContinuesLater() {
        let empty = EmptyWorld()
        let record = Record()
        let background = SimulatedBackground(incarnation: empty.machines[0].begin())
        empty.machines[0].pause(until: 50_000_000)
        background.run(.control) { [world = empty.world] in record.lines.append("\(world.now / 1_000_000)") }
        empty.world.run(atMost: 40_000_000)
        #expect(record.lines.isEmpty)
        empty.world.run(atMost: 40_000_000)
        #expect(record.lines == ["50"])
        // Work delayed by a pause runs at once when the pause is ended early.
        empty.machines[0].pause(until: 900_000_000)
        background.run(.control) { [world = empty.world] in record.lines.append("\(world.now / 1_000_000)") }
        empty.world.run(atMost: 20_000_000)
        #expect(record.lines == ["50"])
        empty.machines[0].goOn()
        empty.world.run(atMost: 1)
        #expect(record.lines == ["50", "100"])
        empty.world.end()
    }

    @Test func onlyWallClocksJump() {
        let empty = EmptyWorld()
        let time = SimulatedTime(machine: empty.machines[0])
        let (wall, monotonic) = (time.wallMicroseconds(), time.monotonicNanoseconds())
        empty.machines[0].skewMicroseconds = -3_000_000
        empty.world.run(atMost: 1_000_000_000)
        #expect(time.wallMicroseconds() - wall == -2_000_000)
        #expect(time.monotonicNanoseconds() - monotonic == 1_000_000_000)
    }

    @Test func faultsAreChosenByName() {
        #expect(FaultKind.parse("none") == [])
        #expect(FaultKind.parse("crash,skew") == [.crash, .skew])
        #expect(FaultKind.parse("crash,earthquake") == nil)
        #expect(FaultKind.parse("all")?.contains(.rot) == false)
    }
}
