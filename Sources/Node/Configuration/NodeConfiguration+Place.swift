import Cluster
import Messages

extension NodeConfiguration {
    static let rackFile = "cassandra-rackdc.properties"
    static let topologyFile = "cassandra-topology.properties"

    /// Sets this node's data center and rack from the snitch.
    /// - Parameter path: the configuration file; the snitch's file is in the same directory. Nil: the working
    ///   directory.
    mutating func resolveLocation(beside path: String?) throws(ConfigurationError) {
        let directory = path.flatMap { path in path.lastIndex(of: "/").map { String(path[...$0]) } } ?? ""
        let location: Location
        let file: String
        switch endpointSnitch {
        case "GossipingPropertyFileSnitch":
            file = directory + NodeConfiguration.rackFile
            let text = try snitchText(file)
            do throws(SnitchError) { location = try RackProperties(parsing: text).location } catch {
                throw .snitchFile(file, snitch: endpointSnitch, reason: error.description)
            }
        case "PropertyFileSnitch":
            file = directory + NodeConfiguration.topologyFile
            let text = try snitchText(file)
            let own = Endpoint(address: listenAddress, port: storagePort)
            let found: Location?
            do throws(SnitchError) { found = try PropertyFileSnitch(parsing: text).location(of: own) } catch {
                throw .snitchFile(file, snitch: endpointSnitch, reason: error.description)
            }
            guard let found else {
                throw .snitchFile(
                    file, snitch: endpointSnitch,
                    reason: "it has neither \(listenAddress), the listen_address, nor a line default=DC:RACK")
            }
            location = found
        default: return
        }
        try take(\.dataCenter, "data_center", location.dataCenter, from: file)
        try take(\.rack, "rack", location.rack, from: file)
    }

    private func snitchText(_ file: String) throws(ConfigurationError) -> String {
        do throws(ConfigurationError) { return try NodeConfiguration.readFile(file) } catch {
            var reason = error.description
            if case .unreadableFile(_, let why) = error { reason = why }
            throw .snitchFile(file, snitch: endpointSnitch, reason: reason)
        }
    }

    /// Sets a value, unless the configuration has set it to something else.
    private mutating func take(
        _ key: WritableKeyPath<NodeConfiguration, String>, _ name: String, _ value: String, from file: String
    ) throws(ConfigurationError) {
        let set = self[keyPath: key]
        guard set == value || set == NodeConfiguration()[keyPath: key] else {
            throw .contradiction(
                "\(name) is '\(set)', and \(file) says '\(value)'; with \(endpointSnitch) leave \(name) out")
        }
        self[keyPath: key] = value
    }
}
