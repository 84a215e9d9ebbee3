import Cluster
import Logging
import Messages
import Platform
import Primitives
import Query
import Synchronization
import Testing

@testable import Node

/// Parts of the cluster service that need no other node.
@Suite struct ClusterPartsTests {
    @Test func generationsGrow() throws {
        let (system, time) = (MemoryFileSystem(), ManualTime(microseconds: 5_000_000))
        try system.createDirectory("data")
        let generations = GenerationFile(system: system, directory: "data", time: time)
        #expect(try generations.next() == 5)
        // The clock stands still, or has been set back.
        #expect(try generations.next() == 6)
        #expect(try generations.next(above: 40) == 41)
        #expect(try GenerationFile(system: system, directory: "data", time: time).next() == 42)
        time.advance(microseconds: 100_000_000)
        #expect(try generations.next() == 105)
        // A file that does not parse counts as missing.
        try system.replace("data/\(GenerationFile.name)", with: Array("x\n".utf8), directory: "data")
        #expect(try generations.next() == 105)
    }

    @Test func repeatedReportIsLoggedOnceAMinute() {
        let (lines, time) = (Lines(), ManualTime())
        let log = OperatorLog(Logger(label: "test", factory: { _ in lines }), time: time)
        for _ in 0..<3 { log.report("a") }
        log.report("b", level: .error)
        time.advance(microseconds: 59_999_999)
        log.report("a")
        time.advance(microseconds: 1)
        log.report("a")
        for _ in 0..<2 { log.info("c") }
        #expect(lines.all == ["warning a", "error b", "warning a", "info c", "info c"])
    }

    @Test func throttleWaitsForBytesAheadOfTheRate() {
        let time = ManualTime()
        let background = ClockedBackground(time: time)
        let throttle = StreamThrottle(bytesPerSecond: 1000, time: time, background: background)
        let began = time.monotonicMicroseconds()
        throttle.wait(for: 500, since: began)
        #expect(time.monotonicMicroseconds() - began == 500_000)
        // Those have waited already.
        throttle.wait(for: 500, since: began)
        #expect(time.monotonicMicroseconds() - began == 500_000)
        // Never longer than five seconds at once.
        throttle.wait(for: 1_000_000, since: began)
        #expect(time.monotonicMicroseconds() - began == 5_500_000)
        StreamThrottle(bytesPerSecond: 0, time: time, background: background).wait(for: .max, since: began)
        #expect(time.monotonicMicroseconds() - began == 5_500_000)
    }

    @Test func parallelLoopHandlesEveryItem() {
        let done = Mutex<[Int]>([])
        InlineBackground().forEach(of: Array(1...9), workers: 4) { item in done.withLock { $0.append(item) } }
        InlineBackground().forEach(of: [Int](), workers: 4) { item in done.withLock { $0.append(item) } }
        #expect(done.withLock { $0.sorted() } == Array(1...9))
    }

    @Test func releasedNodeIsFreed() throws {
        weak var cluster: ClusterService?
        weak var queries: QueryEngine?
        weak var hints: HintHandoff?
        do {
            let (node, network) = try NodeServerTests.start(MemoryFileSystem())
            (cluster, queries, hints) = (node.cluster, node.queries, node.cluster.hints)
            #expect(cluster != nil && queries != nil && hints != nil)
            node.drain()
            // What accepts connections holds the node.
            network.makers.withLock { $0 = [] }
        }
        #expect(cluster == nil && queries == nil && hints == nil)
    }
}

/// Sleeps by advancing a clock.
private struct ClockedBackground: Background {
    let time: ManualTime
    func run(_ kind: BackgroundKind, _ work: @escaping @Sendable () -> Void) { work() }
    func sleep(nanoseconds: UInt64) { time.advance(microseconds: Int64(nanoseconds / 1000)) }
}

/// Keeps what is logged.
private final class Lines: LogHandler, @unchecked Sendable {
    private let lines = Mutex<[String]>([])
    var all: [String] { lines.withLock { $0 } }
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.trace

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) { lines.withLock { $0.append("\(event.level) \(event.message)") } }
}
