/// The internode address of a node: an IP address as text and a port.
///
/// An endpoint is an address, not an identity: a node keeps its host id when its endpoint changes. The order, address
/// then port, only makes listings reproducible.
public struct Endpoint: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// An IPv4 or IPv6 address, without brackets.
    public let address: String
    /// The internode port, 0 to 65,535.
    public let port: Int

    /// The default internode port, as in Cassandra.
    public static let defaultPort = 7000

    public init(address: String, port: Int) {
        self.address = address
        self.port = port
    }

    /// Parses `10.0.0.1`, `10.0.0.1:7000`, `::1` or `[::1]:7000`; nil for anything else.
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
            guard !portText.isEmpty, portText.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), let number = Int(portText)
            else { return nil }
            port = number
        }
        guard port >= 0, port <= 65_535 else { return nil }
        self.init(address: String(address), port: port)
    }

    /// Returns whether the bytes could be an IP address as text: 1 to 64 bytes, which leaves space for an IPv6 zone,
    /// and only harmless characters, so that it can go into log lines.
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
