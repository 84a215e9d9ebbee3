import ArgumentParser
import Client
import NativeProtocol
import TLS

/// The options for connecting to a server, common to all tools.
struct ConnectionArguments: ParsableArguments {
    @Option(help: "The server's address.")
    var host = "127.0.0.1"

    @Option(help: "The server's native-protocol port.")
    var port: UInt16 = 9042

    @Option(help: "A data directory to open in this process, instead of connecting to a server.")
    var embedded: String?

    @Option(name: .shortAndLong, help: "The user name, if the server requires authentication.")
    var user: String?

    @Option(help: "The user's password.")
    var password: String?

    @Option(
        name: .customLong("protocol"), help: "The protocol version, 4 or 5; by default the highest the server supports."
    )
    var version: UInt8?

    @Option(help: "Compression of the connection: none, lz4, or snappy (version 4).")
    var compression = "none"

    @Flag(help: "Connect with TLS.")
    var ssl = false

    @Option(
        help:
            "With --ssl: a PEM file of the authorities that may issue the server's certificate; by default the system's."
    )
    var sslCa: String?

    @Option(help: "With --ssl: a PEM file with this client's certificate and, without --ssl-key, its key.")
    var sslCert: String?

    @Option(help: "With --ssl: a PEM file with the certificate's key.")
    var sslKey: String?

    @Option(
        help:
            "With --ssl, how to verify the server's certificate: name (its authority, and that it is valid for --host), authority, or none."
    )
    var sslVerify: String?

    @Option(help: "Seconds to wait for a connection.")
    var connectTimeout = 5

    @Option(help: "Seconds to wait for an answer.")
    var requestTimeout = 60

    /// Runs `body` with the options for the server: that at `--host` and `--port`, or with `--embedded` a node in this
    /// process that runs until `body` returns.
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

    /// - Throws: `ValidationError` naming the invalid option.
    func options() throws -> ConnectionOptions {
        var options = ConnectionOptions()
        options.host = host
        options.port = port
        options.user = user
        options.password = password
        if let version {
            guard let known = ProtocolVersion(rawValue: version) else {
                throw ValidationError("--protocol is 4 or 5, not \(version)")
            }
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

    /// Returns the TLS context for --ssl and the related options; nil without --ssl.
    private func tls() throws -> TLSContext? {
        guard ssl else {
            guard sslCa == nil, sslCert == nil, sslKey == nil, sslVerify == nil else {
                throw ValidationError("--ssl-ca, --ssl-cert, --ssl-key and --ssl-verify require --ssl")
            }
            return nil
        }
        var tls = TLSOptions()
        tls.authorities = sslCa ?? ""
        tls.certificate = sslCert ?? ""
        tls.privateKey = sslKey ?? ""
        guard sslCert != nil || sslKey == nil else { throw ValidationError("--ssl-key requires --ssl-cert") }
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
