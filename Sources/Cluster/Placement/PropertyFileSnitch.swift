import Messages

/// Node locations by address, parsed from text like Cassandra's `cassandra-topology.properties`.
///
///     # address = data center : rack
///     10.0.0.1=dc1:rack1
///     [fe80::1]:7001=dc1:rack2        with a port: only this node
///     2001\:db8\:\:1=dc2:rack1        colons may be escaped
///     default=dc1:rack1
public struct PropertyFileSnitch: Hashable, Sendable {
    private let byAddress: [String: Location]
    private let byEndpoint: [Endpoint: Location]
    /// The location of addresses that are not listed.
    public let fallback: Location?

    /// - Throws: `SnitchError` with the number of the first invalid line.
    public init(parsing text: String) throws(SnitchError) {
        var byAddress: [String: Location] = [:]
        var byEndpoint: [Endpoint: Location] = [:]
        var fallback: Location?
        for (index, raw) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
            let line = PropertyFileSnitch.trim(raw)
            guard let first = line.first, first != "#", first != "!" else { continue }
            guard let equals = line.firstIndex(of: "=") else {
                throw SnitchError(line: index + 1, reason: "expected address=data-center:rack")
            }
            let key = PropertyFileSnitch.trim(line[..<equals]).filter { $0 != "\\" }
            let parts = line[line.index(after: equals)...].filter { $0 != "\\" }.split(
                separator: ":", omittingEmptySubsequences: false
            )
            .map { String(PropertyFileSnitch.trim($0)) }
            guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else {
                throw SnitchError(line: index + 1, reason: "expected data-center:rack after '='")
            }
            let location = Location(dataCenter: parts[0], rack: parts[1])
            if key == "default" {
                fallback = location
            } else if key.hasPrefix("[") || key.filter({ $0 == ":" }).count == 1 {
                guard let endpoint = Endpoint(key) else {
                    throw SnitchError(line: index + 1, reason: "'\(key)' is no address")
                }
                byEndpoint[endpoint] = location
            } else {
                guard Endpoint.isPlausible(address: key.utf8) else {
                    throw SnitchError(line: index + 1, reason: "'\(key)' is no address")
                }
                byAddress[key] = location
            }
        }
        self.byAddress = byAddress
        self.byEndpoint = byEndpoint
        self.fallback = fallback
    }

    /// Returns the location of the node at this endpoint; nil when it is not listed and there is no default.
    public func location(of endpoint: Endpoint) -> Location? {
        byEndpoint[endpoint] ?? byAddress[endpoint.address] ?? fallback
    }

    static func trim(_ text: Substring) -> Substring {
        let blank: (Character) -> Bool = { $0 == " " || $0 == "\t" || $0 == "\r" }
        guard let end = text.lastIndex(where: { !blank($0) }) else { return "" }
        return text[...end].drop(while: blank)
    }
}
