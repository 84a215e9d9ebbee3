/// Where a node is reached by other nodes: an IP address in text and its internode port.
///
/// An endpoint is an address, not an identity: a node that comes back elsewhere is the same node, because its host id
/// is the same. The order (address, then port) is only there to make every listing reproducible.
public struct Endpoint: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// An IPv4 or IPv6 address, without brackets.
    public let address: String
    /// The internode port, 0 to 65,535.
    public let port: Int

    /// The internode port of Cassandra and of this server, unless configured.
    public static let defaultPort = 7000

    public init(address: String, port: Int) {
        self.address = address
        self.port = port
    }

    /// From `10.0.0.1`, `10.0.0.1:7000`, `::1` or `[::1]:7000`; nil for anything else.
    public init?(_ text: some StringProtocol, defaultPort: Int = Endpoint.defaultPort) {
        let colons = text.reduce(0) { $1 == ":" ? $0 + 1 : $0 }
        if text.hasPrefix("[") {
            guard let close = text.firstIndex(of: "]") else { return nil }
            let address = text[text.index(after: text.startIndex)..<close]
            let rest = text[text.index(after: close)...]
            guard rest.isEmpty || rest.hasPrefix(":") else { return nil }
            self.init(address: address, portText: rest.isEmpty ? nil : rest.dropFirst(), defaultPort: defaultPort)
        } else if colons == 1, let colon = text.firstIndex(of: ":") {
            self.init(address: text[..<colon], portText: text[text.index(after: colon)...], defaultPort: defaultPort)
        } else {
            self.init(address: text[...], portText: nil, defaultPort: defaultPort)
        }
    }

    private init?<T: StringProtocol>(address: T, portText: T?, defaultPort: Int) {
        guard Endpoint.isPlausible(address: address.utf8) else { return nil }
        var port = defaultPort
        if let portText {
            guard !portText.isEmpty, portText.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), let number = Int(portText) else { return nil }
            port = number
        }
        guard port >= 0, port <= 65_535 else { return nil }
        self.init(address: String(address), port: port)
    }

    /// Whether the bytes could be an IP address in text: 1 to 64 of them (an IPv6 address with a zone fits), none of which
    /// could confuse a log line.
    public static func isPlausible(address: some Collection<UInt8>) -> Bool {
        guard address.count >= 1, address.count <= GossipLimits.addressBytes else { return false }
        return address.allSatisfy { byte in
            switch byte {
            case 0x30...0x3a, 0x41...0x5a, 0x61...0x7a, 0x2e, 0x25, 0x2d, 0x5f: true  // 0-9 : A-Z a-z . % - _
            default: false
            }
        }
    }

    public var description: String {
        address.utf8.contains(0x3a) ? "[\(address)]:\(port)" : "\(address):\(port)"
    }

    public static func < (a: Endpoint, b: Endpoint) -> Bool {
        a.address != b.address ? a.address < b.address : a.port < b.port
    }
}
