/// Consistency levels. The raw values are the native protocol's; do not change.
public enum Consistency: UInt16, Sendable, CaseIterable {
    case any = 0
    case one = 1
    case two = 2
    case three = 3
    case quorum = 4
    case all = 5
    case localQuorum = 6
    case eachQuorum = 7
    case serial = 8
    case localSerial = 9
    case localOne = 10

    /// The name in CQL and in error messages.
    public var name: String {
        switch self {
        case .any: "ANY"
        case .one: "ONE"
        case .two: "TWO"
        case .three: "THREE"
        case .quorum: "QUORUM"
        case .all: "ALL"
        case .localQuorum: "LOCAL_QUORUM"
        case .eachQuorum: "EACH_QUORUM"
        case .serial: "SERIAL"
        case .localSerial: "LOCAL_SERIAL"
        case .localOne: "LOCAL_ONE"
        }
    }

    public init?(name: String) {
        guard let match = Consistency.allCases.first(where: { $0.name == name.uppercased() }) else { return nil }
        self = match
    }
}
