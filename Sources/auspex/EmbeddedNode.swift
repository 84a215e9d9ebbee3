import Glibc
import LinuxPlatform
import Node

/// A node inside a tool's process, on a free port of the loopback address, for `--embedded DIR`.
final class EmbeddedNode {
    private let node: NodeServer
    let port: UInt16

    /// Opens a data directory and creates it if missing. Fails when a server uses it.
    init(directory: String) throws {
        signal(SIGPIPE, SIG_IGN)
        var configuration = NodeConfiguration()
        configuration.dataDirectory = directory
        configuration.nativeTransportPort = 0
        configuration.linePort = 0
        configuration.httpPort = 0
        node = try NodeServer(
            configuration: configuration, system: PosixFileSystem(), time: SystemTime(), background: ThreadPools(),
            network: LoopNetwork(loops: 1),
            boot: ProcessLimits.bootIdentity(), seed: UInt64.random(in: 0...UInt64.max))
        try node.listen()
        port = UInt16(truncatingIfNeeded: node.ports.native)
    }

    /// Flushes everything and closes the directory.
    func close() { node.drain() }
}
