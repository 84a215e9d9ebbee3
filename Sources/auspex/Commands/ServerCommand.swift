import ArgumentParser
import Glibc
import LinuxPlatform
import Logging
import Node
import Primitives
import TLS

struct ServerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "server", abstract: "The database node.",
        discussion: """
            With no option: a single node on 127.0.0.1 with its data in ./data. When it serves, it prints one line of JSON. SIGTERM and SIGINT end it in \
            order. Settings come from the file of --config, then AUSPEX_KEY environment variables, then --set and the options here.
            """)

    @Option(help: "A YAML file with settings; conf/auspex.yaml documents all of them.")
    var config: String?

    @Option(help: "Where the data lies.")
    var dataDir: String?

    @Option(help: "The address clients connect to.")
    var listenAddress: String?

    @Option(help: "Port of the native CQL protocol; 0 takes a free one.")
    var nativePort: Int?

    @Option(help: "Port of the line protocol; 0 takes a free one.")
    var linePort: Int?

    @Option(help: "Port of the other nodes.")
    var internodePort: Int?

    @Option(help: "Port of admin commands and metrics; 0 takes a free one.")
    var httpPort: Int?

    @Option(help: "Nodes to join, as IP:PORT,...; a node whose only seed is itself founds the cluster.")
    var seeds: String?

    @Option(help: "The cluster this node belongs to.")
    var clusterName: String?

    @Option(help: "Event loops; one per core without it.")
    var loops: Int?

    @Option(name: .customLong("set"), help: "A setting, as key=value; may be given again.")
    var settings: [String] = []

    func run() throws {
        let started = SystemTime().monotonicNanoseconds()
        var overrides = settings
        func override(_ key: String, _ value: (some CustomStringConvertible)?) { if let value { overrides.append("\(key)=\(value)") } }
        override("data_directory", dataDir)
        override("listen_address", listenAddress)
        override("native_transport_port", nativePort)
        override("line_port", linePort)
        override("storage_port", internodePort)
        override("http_port", httpPort)
        override("cluster_name", clusterName)
        override("seeds", seeds)
        override("loops", loops)
        var environment: [String: String] = [:]
        var entry = environ
        while let text = entry.pointee {
            let pair = String(cString: text).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if pair.count == 2 { environment[String(pair[0])] = String(pair[1]) }
            entry += 1
        }
        let configuration: NodeConfiguration
        do { configuration = try NodeConfiguration.load(path: config, environment: environment, overrides: overrides) } catch {
            diagnostic("auspex server: \(error)")
            throw ExitCode(1)
        }
        try serve(configuration, started: started)
    }

    private func serve(_ configuration: NodeConfiguration, started: UInt64) throws {
        // Signals are taken by this thread alone, so they are blocked before any other begins.
        var signals = sigset_t()
        sigemptyset(&signals)
        for signal in [SIGTERM, SIGINT, SIGHUP] { sigaddset(&signals, signal) }
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        signal(SIGPIPE, SIG_IGN)
        ProcessLimits.raiseOpenFiles()
        let cores = max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        let background = ThreadPools(
            compaction: configuration.concurrentCompactors, read: configuration.ioThreads > 0 ? configuration.ioThreads : cores * 4)
        let encryption: NodeEncryption
        do throws(TLSError) { encryption = try NodeEncryption(configuration) } catch {
            diagnostic("auspex server: \(error)")
            throw ExitCode(1)
        }
        let network = LoopNetwork(
            loops: configuration.loops > 0 ? configuration.loops : cores, clients: encryption.clients?.ofChannels,
            nodes: encryption.nodes?.ofChannels)
        let node: NodeServer
        do {
            node = try NodeServer(
                configuration: configuration, system: PosixFileSystem(), time: SystemTime(), background: background, network: network,
                boot: ProcessLimits.bootIdentity(), seed: UInt64.random(in: 0...UInt64.max),
                log: Logger(label: "auspex", factory: { StreamLogHandler.standardError(label: $0) }))
            if let torn = node.replay.tornAt {
                diagnostic(
                    "auspex server: the commit log was not closed in order; segment \(torn.segment) ends at byte \(torn.offset), and everything up to there is replayed"
                )
            }
            for skipped in node.replay.skipped {
                diagnostic(
                    "auspex server: skipped \(skipped.bytes) damaged bytes of commit-log segment \(skipped.position.segment) at byte \(skipped.position.offset)"
                )
            }
        } catch {
            diagnostic("auspex server: \(error)")
            throw ExitCode(1)
        }
        // Joining a cluster may take long; this thread hears signals meanwhile.
        background.run(.control) {
            do { try node.listen() } catch {
                diagnostic("auspex server: \(error)")
                Glibc.exit(1)
            }
            let millis = Int((SystemTime().monotonicNanoseconds() - started) / 1_000_000)
            let replay = node.replay
            node.log.info("serving after \(millis) ms; replayed \(replay.records) records of \(replay.segments.count) commit-log segments")
            encryption.tellExpiry(node.log)
            print(node.readyLine(milliseconds: millis))
            fflush(nil)
        }
        while true {
            var received: Int32 = 0
            guard sigwait(&signals, &received) == 0 else { continue }
            if received == SIGHUP {
                encryption.reload(node.log)
                continue
            }
            break
        }
        node.drain()
        if let failure = node.storage.failure { diagnostic("auspex server: \(failure)") }
        Glibc.exit(0)
    }
}

/// Limits and facts of the process and the machine.
enum ProcessLimits {
    /// As many open files as the system lets this process have: one a connection, one an sstable.
    static func raiseOpenFiles() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }

    /// A number that is the same until the machine starts again.
    static func bootIdentity() -> UInt64 {
        do { return Checksum.xxh3(try PosixFileSystem().readBoot()) } catch { return 0 }
    }
}

extension PosixFileSystem {
    /// The kernel's name for this run of the machine; its file reports no size, so it is read by a fixed count.
    fileprivate func readBoot() throws -> [UInt8] {
        guard let file = fopen("/proc/sys/kernel/random/boot_id", "r") else { return [] }
        defer { fclose(file) }
        var buffer = [UInt8](repeating: 0, count: 64)
        let count = fread(&buffer, 1, 64, file)
        return Array(buffer[..<count])
    }
}
