import ArgumentParser
import Client
import NativeProtocol
import TLS

/// Where a tool connects to; the same for all of them.
struct ConnectionArguments: ParsableArguments {
    @Option(help: "The server's address.")
    var host = "127.0.0.1"

    @Option(help: "The server's native-protocol port.")
    var port: UInt16 = 9042

    @Option(help: "A data directory to open in this process, instead of connecting to a server.")
    var embedded: String?

    @Option(name: .shortAndLong, help: "Who connects, when the server asks.")
    var user: String?

    @Option(help: "The user's password.")
    var password: String?

    @Option(name: .customLong("protocol"), help: "The protocol version, 4 or 5; without it the highest the server speaks.")
    var version: UInt8?

    @Option(help: "Compression of the connection: none, lz4, or snappy (version 4).")
    var compression = "none"

    @Flag(help: "Connect with TLS.")
    var ssl = false

    @Option(help: "With --ssl: a PEM file of the authorities that the server's certificate may come from; without it, the system's.")
    var sslCa: String?

    @Option(help: "With --ssl: a PEM file with this client's certificate and, without --ssl-key, its key.")
    var sslCert: String?

    @Option(help: "With --ssl: a PEM file with the certificate's key.")
    var sslKey: String?

    @Option(
        help:
            "With --ssl, what is asked of the server's certificate: name (its authority, and that it stands for --host), authority, or none."
    )
    var sslVerify: String?

    @Option(help: "Seconds to wait for a connection.")
    var connectTimeout = 5

    @Option(help: "Seconds to wait for an answer.")
    var requestTimeout = 60

    /// Runs `body` with the server to connect to: that of `--host` and `--port`, or a node in this process for as long as it runs.
    func withServer<R>(_ body: (ConnectionOptions) throws -> R) throws -> R {
        var options = try options()
        guard let embedded else { return try body(options) }
        let node: EmbeddedNode
        do { node = try EmbeddedNode(directory: embedded) } catch {
            diagnostic("cannot open \(embedded): \(error)")
            throw ExitCode(1)
        }
        defer { node.close() }
        options.tls = nil
        options.host = "127.0.0.1"
        options.port = node.port
        return try body(options)
    }

    /// - Throws: a usage error naming what cannot be.
    func options() throws -> ConnectionOptions {
        var options = ConnectionOptions()
        options.host = host
        options.port = port
        options.user = user
        options.password = password
        if let version {
            guard let known = ProtocolVersion(rawValue: version) else { throw ValidationError("--protocol is 4 or 5, not \(version)") }
            options.version = known
        }
        guard let known = FrameCompression(name: compression, version: options.version ?? .v5) else {
            throw ValidationError("--compression is none, lz4, or with --protocol 4 snappy; not \(compression)")
        }
        options.compression = known
        options.tls = try tls()
        options.connectTimeout = .seconds(max(1, connectTimeout))
        options.requestTimeout = .seconds(max(1, requestTimeout))
        return options
    }

    /// What --ssl and its companions say; nil: nothing.
    private func tls() throws -> TLSContext? {
        guard ssl else {
            guard sslCa == nil, sslCert == nil, sslKey == nil, sslVerify == nil else {
                throw ValidationError("--ssl-ca, --ssl-cert, --ssl-key and --ssl-verify go with --ssl")
            }
            return nil
        }
        var tls = TLSOptions()
        tls.authorities = sslCa ?? ""
        tls.certificate = sslCert ?? ""
        tls.privateKey = sslKey ?? ""
        guard sslCert != nil || sslKey == nil else { throw ValidationError("--ssl-key goes with --ssl-cert") }
        if let sslVerify {
            guard let known = TLSOptions.Verification(rawValue: sslVerify) else {
                throw ValidationError("--ssl-verify is name, authority or none; not \(sslVerify)")
            }
            tls.verification = known
        }
        do throws(TLSError) { return try TLSContext(tls) } catch {
            diagnostic(error.description)
            throw ExitCode(1)
        }
    }
}
