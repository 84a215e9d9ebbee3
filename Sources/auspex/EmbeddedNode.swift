import Glibc
import LinuxPlatform
import Node

/// A node inside a tool's process, on a free port of the loopback address: `--embedded DIR` needs no server.
final class EmbeddedNode {
    private let node: NodeServer
    let port: UInt16

    /// Opens a data directory, made when missing; fails when a server has it open.
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

    /// Flushes everything; the directory may be opened again.
    func close() { node.drain() }
}
