/// Registers written and read at `QUORUM`: no acknowledged write is lost, no read goes back in time, and reads see only
/// values that were written.
///
/// Each register has a single writer, which uses its versions as values and as timestamps. Rows are padded so that
/// memtables fill and sstables are compacted. Each register of a writer is written half as often as the one before:
/// frequent writes soon hide that a replica missed one.
///
/// SAFETY: `@unchecked Sendable`, see `Workload`.
public final class RegisterWorkload: Workload, @unchecked Sendable {
    public let name = "registers"
    private let clients: Int
    private var registers: [VersionedHistory]
    public private(set) var violations: [Violation] = []

    static let registersPerClient = 8

    public init(clients: Int) {
        self.clients = clients
        registers = (0..<clients * RegisterWorkload.registersPerClient).map { VersionedHistory(name: "register \($0)") }
    }

    public var tables: [String] { ["CREATE TABLE IF NOT EXISTS sim.registers (k int PRIMARY KEY, v int, pad text)"] }

    public func step(_ session: ClientSession) {
        let world = session.world
        if world.random.happens(0.5) {
            let halvings = min(world.random.next().trailingZeroBitCount, RegisterWorkload.registersPerClient - 1)
            let key = session.number * RegisterWorkload.registersPerClient + halvings
            let value = registers[key].nextValue
            let version = registers[key].begin(value)
            let called = session.now
            let pad = String(repeating: "x", count: world.random.happens(0.2) ? world.random.int(0...8000) : 8)
            let reply = session.run(
                "INSERT INTO sim.registers (k, v, pad) VALUES (\(key), \(value), '\(pad)') USING TIMESTAMP \(version)")
            registers[key].ended(version, isAcknowledged: reply.isDone, called: called, now: session.now)
            violations += reply.complaints(of: self)
        } else {
            let key = world.random.int(0...registers.count - 1)
            let floor = registers[key].floor
            let called = session.now
            let reply = session.run("SELECT v FROM sim.registers WHERE k = \(key)")
            if let rows = reply.rows { saw(key, rows, floor, called, session.now) }
            violations += reply.complaints(of: self)
        }
    }

    private func saw(_ key: Int, _ rows: [[String]], _ floor: Int, _ called: UInt64, _ now: UInt64) {
        let value = rows.first.flatMap { $0.first }.map { Int($0) ?? -1 }
        if let violation = registers[key].saw(value, floor: floor, called: called, now: now) {
            violations.append(violation)
        }
    }

    public func finish(_ session: ClientSession, _ readers: FinalReaders) {
        for key in registers.indices {
            let floor = registers[key].floor
            let called = session.now
            if let rows = readers.agreed("SELECT v FROM sim.registers WHERE k = \(key)") {
                saw(key, rows, floor, called, session.now)
            }
        }
    }
}
