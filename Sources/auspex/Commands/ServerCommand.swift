import ArgumentParser
import CLinux
import Glibc
import LinuxPlatform
import Logging
import Node
import Primitives
import TLS

struct ServerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "server", abstract: "Runs a database node.",
        discussion: """
            Without options: a single node on 127.0.0.1 with its data in ./data. When the node serves clients, it \
            prints one line of JSON. SIGTERM and SIGINT shut it down in an orderly way, SIGHUP reloads its \
            certificates. Settings come from the file of --config, then AUSPEX_KEY environment variables, then --set \
            and the options here; later ones override earlier ones.
            """)

    @Option(help: "A YAML file with settings; conf/auspex.yaml documents all of them.")
    var config: String?

    @Option(help: "The data directory.")
    var dataDir: String?

    @Option(help: "The address clients connect to.")
    var listenAddress: String?

    @Option(help: "Port of the native CQL protocol; 0 takes a free one.")
    var nativePort: Int?

    @Option(help: "Port of the line protocol; 0 takes a free one.")
    var linePort: Int?

    @Option(help: "Port for connections between nodes.")
    var internodePort: Int?

    @Option(help: "Port for admin commands and metrics; 0 takes a free one.")
    var httpPort: Int?

    @Option(
        help: "Seed nodes of the cluster to join, as IP:PORT,...; a node whose only seed is itself creates the cluster."
    )
    var seeds: String?

    @Option(help: "The cluster this node belongs to.")
    var clusterName: String?

    @Option(help: "Event loops; by default one per core.")
    var loops: Int?

    @Option(name: .customLong("set"), help: "A setting, as key=value; may be repeated.")
    var settings: [String] = []

    func run() throws {
        let started = SystemTime().monotonicNanoseconds()
        var overrides = settings
        func override(_ key: String, _ value: (some CustomStringConvertible)?) {
            if let value { overrides.append("\(key)=\(value)") }
        }
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
        do {
            configuration = try NodeConfiguration.load(path: config, environment: environment, overrides: overrides)
        } catch {
            diagnostic("auspex server: \(error)")
            throw ExitCode(1)
        }
        for warning in configuration.warnings { diagnostic("auspex server: warning: \(warning)") }
        try serve(configuration, started: started)
    }

    private func serve(_ configuration: NodeConfiguration, started: UInt64) throws {
        // This thread alone handles signals, so they are blocked before any other thread starts.
        var signals = sigset_t()
        sigemptyset(&signals)
        for signal in [SIGTERM, SIGINT, SIGHUP] { sigaddset(&signals, signal) }
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        signal(SIGPIPE, SIG_IGN)
        ProcessLimits.raiseOpenFiles()
        // Large answers get pages of their own: freed, they leave no holes in the heap.
        auspex_map_allocations(1 << 20)
        let cores = max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        let background = ThreadPools(
            compaction: configuration.concurrentCompactors,
            read: configuration.ioThreads > 0 ? configuration.ioThreads : cores * 4)
        let encryption: NodeEncryption
        do throws(TLSError) { encryption = try NodeEncryption(configuration) } catch {
            diagnostic("auspex server: \(error)")
            throw ExitCode(1)
        }
        let network = LoopNetwork(
            loops: configuration.loops > 0 ? configuration.loops : cores,
            clients: encryption.clients?.channelEncryption,
            nodes: encryption.nodes?.channelEncryption)
        let node: NodeServer
        do {
            node = try NodeServer(
                configuration: configuration, system: PosixFileSystem(), time: SystemTime(), background: background,
                network: network,
                boot: ProcessLimits.bootIdentity(), seed: UInt64.random(in: 0...UInt64.max),
                log: Logger(label: "auspex", factory: { StreamLogHandler.standardError(label: $0) }))
            if let torn = node.replay.tornAt {
                diagnostic(
                    "auspex server: the commit log was not closed cleanly: segment \(torn.segment) is incomplete after byte \(torn.offset); everything before that is replayed"
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
        // Joining a cluster may take long; this thread handles signals meanwhile.
        background.run(.control) {
            do { try node.listen() } catch {
                diagnostic("auspex server: \(error)")
                Glibc.exit(1)
            }
            let millis = Int((SystemTime().monotonicNanoseconds() - started) / 1_000_000)
            let replay = node.replay
            node.log.info(
                "serving after \(millis) ms; replayed \(replay.records) records of \(replay.segments.count) commit-log segments"
            )
            encryption.warnOfExpiry(node.log)
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

/// Limits of the process, and the identity of the machine's boot.
enum ProcessLimits {
    /// Raises the limit of open files as far as the system allows: each connection and each sstable needs one.
    static func raiseOpenFiles() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }

    /// Returns a number that stays the same until the machine reboots; 0 when unknown.
    static func bootIdentity() -> UInt64 {
        do { return Checksum.xxh3(try PosixFileSystem().readBoot()) } catch { return 0 }
    }
}

extension PosixFileSystem {
    /// Reads the kernel's boot id. The file reports no size, so a fixed count is read.
    fileprivate func readBoot() throws -> [UInt8] {
        guard let file = fopen("/proc/sys/kernel/random/boot_id", "r") else { return [] }
        defer { fclose(file) }
        var buffer = [UInt8](repeating: 0, count: 64)
        let count = fread(&buffer, 1, 64, file)
        return Array(buffer[..<count])
    }
}
