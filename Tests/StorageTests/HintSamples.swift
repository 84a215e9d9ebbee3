import Platform
import Primitives
import Synchronization
import Testing

@testable import Storage

/// A hint store on a file system in memory, and the events its observer received.
struct HintSamples {
    static let a = UUID(high: 0x1111_2222_3333_4444, low: 0x5555_6666_7777_8888)
    static let b = UUID(high: 0xaaaa_bbbb_cccc_dddd, low: 1)

    final class Events: Sendable {
        private let state = Mutex<[HintStoreEvent]>([])
        var all: [HintStoreEvent] { state.withLock { $0 } }
        func add(_ event: HintStoreEvent) { state.withLock { $0.append(event) } }
    }

    let system: MemoryFileSystem
    let time: ManualTime
    let events = Events()
    var store: HintStore
    let options: HintStoreOptions

    /// Segment files have 4 KiB unless `change` says otherwise.
    init(
        system: MemoryFileSystem = MemoryFileSystem(), time: ManualTime = ManualTime(),
        _ change: (inout HintStoreOptions) -> Void = { _ in }
    ) throws {
        var options = HintStoreOptions()
        options.fileBytes = 4 << 10
        change(&options)
        self.options = options
        self.system = system
        self.time = time
        let events = events
        store = try HintStore(system: system, time: time, directory: "hints", options: options) { events.add($0) }
    }

    /// Opens the directory again, as a new process would.
    mutating func reopen() throws {
        let events = events
        store = try HintStore(system: system, time: time, directory: "hints", options: options) { events.add($0) }
    }

    var now: UInt32 { time.wallSeconds() }

    @discardableResult func add(
        _ target: UUID, _ bytes: [UInt8], createdAt: UInt32? = nil, grace: UInt32 = 864_000, downSince: UInt32? = nil
    ) throws -> Bool {
        let when = createdAt ?? now
        return try bytes.withUnsafeBytesTyped { (raw) throws(StorageError) in
            try store.add(target: target, mutations: raw, createdAt: when, graceSeconds: grace, downSince: downSince)
        }
    }

    /// Returns bytes that identify a hint.
    static func bytes(_ number: Int, count: Int = 100) -> [UInt8] {
        (0..<count).map {
            $0 < 4 ? UInt8(truncatingIfNeeded: number >> ($0 * 8)) : UInt8(truncatingIfNeeded: number &+ $0)
        }
    }

    static func number(_ bytes: [UInt8]) -> Int { (0..<4).reduce(0) { $0 | Int(bytes[$1]) << ($1 * 8) } }

    /// Returns the numbers of all hints that wait for a target, in order, without acknowledging them.
    func waiting(_ target: UUID, maxBytes: Int = 1000) throws -> [Int] {
        guard let reader = store.reader(for: target) else { return [] }
        var found: [Int] = []
        while let batch = try reader.next(maxBytes: maxBytes) { found += batch.hints.map { Self.number($0.mutations) } }
        return found
    }

    var names: [String] {
        get throws { try system.list("hints").sorted() }
    }

    func overwrite(_ name: String, _ bytes: [UInt8]) throws {
        let file = try system.open("hints/" + name, .create)
        try bytes.withUnsafeBytesTyped { (raw) throws(FileError) in try file.write(raw, at: 0) }
        try file.sync()
        try system.syncDirectory("hints")
    }
}
