import Glibc
import LinuxPlatform
import Logging
import Node
import TLS

/// The TLS contexts of a node, from its configuration.
struct NodeEncryption: Sendable {
    /// For client connections; nil: they are not encrypted. Likewise `nodes` for internode connections.
    let clients: TLSContext?
    let nodes: TLSContext?

    init(_ configuration: NodeConfiguration) throws(TLSError) {
        let client = configuration.clientEncryption
        var options = TLSOptions()
        options.certificate = client.keystore
        options.privateKey = client.privateKey
        options.authorities = client.truststore
        options.requiresClientCertificate = client.requireClientAuth
        clients = client.enabled ? try NodeEncryption.context(options, "client_encryption_options") : nil
        let server = configuration.serverEncryption
        options.certificate = server.keystore
        options.privateKey = server.privateKey
        options.authorities = server.truststore
        options.requiresClientCertificate = server.requireClientAuth
        options.verification = server.requireEndpointVerification ? .name : .authority
        nodes = server.isUsed ? try NodeEncryption.context(options, "server_encryption_options") : nil
    }

    private static func context(_ options: TLSOptions, _ group: String) throws(TLSError) -> TLSContext {
        do throws(TLSError) { return try TLSContext(options) } catch { throw .identity("\(group): \(error)") }
    }

    private var all: [(group: String, context: TLSContext)] {
        [("client_encryption_options", clients), ("server_encryption_options", nodes)].compactMap { group, context in
            context.map { (group, $0) }
        }
    }

    /// Reads the certificate files again. If that fails, the old certificates stay in use.
    func reload(_ log: Logger) {
        for (group, context) in all {
            do throws(TLSError) {
                try context.reload()
                log.info("\(group): certificates reloaded; new connections use them")
            } catch {
                log.error("\(group): \(error); the previous certificates stay in use")
            }
        }
        warnOfExpiry(log)
    }

    /// A start or a reload warns when a certificate expires in fewer days than this.
    static let warningDays = 30

    func warnOfExpiry(_ log: Logger) {
        for (group, context) in all {
            guard let expires = context.expires else { continue }
            let days = (expires - time(nil)) / 86_400
            if expires < time(nil) {
                log.error(
                    "\(group): the certificate \(context.options.certificate) has expired; put a new one there and send SIGHUP"
                )
            } else if days < NodeEncryption.warningDays {
                log.warning(
                    "\(group): the certificate \(context.options.certificate) expires in \(days) days; put a new one there and send SIGHUP"
                )
            }
        }
    }
}

extension TLSContext {
    /// The context as the network layer uses it.
    var channelEncryption: ChannelEncryption {
        ChannelEncryption(
            accepting: { [self] failed in try accepting(failed) },
            connecting: { [self] host, failed in try connecting(to: host, failed) })
    }
}
