import Glibc
import LinuxPlatform
import Logging
import Node
import TLS

/// The certificates of a node, as its configuration names them.
struct NodeEncryption: Sendable {
    /// nil: nothing of that kind is encrypted.
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

    /// Reads the files again; where that fails, the old certificates stay.
    func reload(_ log: Logger) {
        for (group, context) in all {
            do throws(TLSError) {
                try context.reload()
                log.info("\(group): certificates were read again; new connections use them")
            } catch {
                log.error("\(group): \(error); the certificates read before stay in use")
            }
        }
        tellExpiry(log)
    }

    /// Days before the end of a certificate from which a start, or a reload, warns of it.
    static let warningDays = 30

    func tellExpiry(_ log: Logger) {
        for (group, context) in all {
            guard let expires = context.expires else { continue }
            let days = (expires - time(nil)) / 86_400
            if expires < time(nil) {
                log.error("\(group): the certificate \(context.options.certificate) has expired; put a new one there and send SIGHUP")
            } else if days < NodeEncryption.warningDays {
                log.warning(
                    "\(group): the certificate \(context.options.certificate) expires in \(days) days; put a new one there and send SIGHUP")
            }
        }
    }
}

extension TLSContext {
    /// The same, for the channels of a network.
    var ofChannels: ChannelEncryption {
        ChannelEncryption(
            accepting: { [self] failed in try accepting(failed) }, connecting: { [self] host, failed in try connecting(to: host, failed) })
    }
}
