import Platform
import Testing

@testable import Simulation

@Suite struct DiskTests {
    private let empty = EmptyWorld()
    private var disk: SimulatedDisk { empty.machines[0].disk }

    private func write(_ path: String, _ text: String, syncs: Bool) throws {
        let file = try disk.open(path, .create)
        try Array(text.utf8).withUnsafeBytes { try file.write($0, at: 0) }
        if syncs { try file.sync() }
        file.close()
    }

    private func text(_ path: String) -> String? {
        do { return String(decoding: try disk.readAll(path), as: UTF8.self) } catch { return nil }
    }

    @Test func powerLossForgetsUnsyncedData() throws {
        try disk.createDirectory("/d")
        try write("/d/synced", "synced", syncs: true)
        try disk.syncDirectory("/d")
        try write("/d/unnamed", "synced, but its name is not", syncs: true)
        disk.losePower()
        #expect(text("/d/synced") == "synced")
        #expect(text("/d/unnamed") == nil)
    }

    @Test func killedProcessLosesOnlyItsLocks() throws {
        try write("/file", "in the kernel", syncs: false)
        let lock = try disk.lock("/LOCK")
        #expect(throws: FileError.self) { try disk.lock("/LOCK") }
        empty.machines[0].end(losesPower: false)
        #expect(text("/file") == "in the kernel")
        _ = try disk.lock("/LOCK")
        withExtendedLifetime(lock) {}
    }

    @Test func fullDiskRefusesWrites() throws {
        try write("/file", "before", syncs: true)
        disk.faults.isFull = true
        #expect(throws: FileError("write", path: "/file", reason: .noSpace)) {
            try write("/file", "after", syncs: true)
        }
        #expect(try disk.freeSpace("/") == 0)
        disk.faults.isFull = false
        try write("/file", "after", syncs: true)
    }

    @Test func injectedReadErrorsAndWaits() throws {
        try write("/file", "text", syncs: true)
        let file = try disk.open("/file", .read)
        var buffer = [UInt8](repeating: 0, count: 4)
        disk.faults.coldReads = 1
        #expect(try buffer.withUnsafeMutableBytes { try file.read(at: 0, into: $0) } == 4)
        disk.faults.readErrors = 1
        #expect(throws: FileError("read", path: "/file", reason: .failed(errno: 5))) {
            try buffer.withUnsafeMutableBytes { try file.read(at: 0, into: $0) }
        }
    }

    @Test func injectedBitRotDamagesOneFile() throws {
        try disk.createDirectory("/data")
        try write("/data/a.sst", "aaaa", syncs: true)
        try disk.syncDirectory("/data")
        #expect(disk.rot(under: "/data", suffix: ".sst") == "/data/a.sst")
        let rotten = text("/data/a.sst")
        #expect(rotten != "aaaa")
        disk.losePower()
        #expect(text("/data/a.sst") == rotten)
    }
}
