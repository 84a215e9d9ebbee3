extension CQLType {
    /// The option id in the native protocol (native_protocol_v4.spec, 4.2.5.2), which ignores `frozen`.
    public var nativeID: UInt16 {
        switch self {
        case .ascii: 0x0001
        case .bigint: 0x0002
        case .blob: 0x0003
        case .boolean: 0x0004
        case .counter: 0x0005
        case .decimal: 0x0006
        case .double: 0x0007
        case .float: 0x0008
        case .int: 0x0009
        case .timestamp: 0x000B
        case .uuid: 0x000C
        case .text: 0x000D
        case .varint: 0x000E
        case .timeuuid: 0x000F
        case .inet: 0x0010
        case .date: 0x0011
        case .time: 0x0012
        case .smallint: 0x0013
        case .tinyint: 0x0014
        case .duration: 0x0015
        case .list: 0x0020
        case .map: 0x0021
        case .set: 0x0022
        case .tuple: 0x0031
        case .frozen(let inner): inner.nativeID
        }
    }

    /// Whether the type is or contains `duration`, which has no order.
    public var containsDuration: Bool {
        switch self {
        case .duration: true
        case .list(let element), .set(let element): element.containsDuration
        case .map(let key, let value): key.containsDuration || value.containsDuration
        case .tuple(let fields): fields.contains { $0.containsDuration }
        case .frozen(let inner): inner.containsDuration
        default: false
        }
    }

    public var isCollection: Bool { unfrozen.isMultiCell }
    public var isNumeric: Bool {
        switch self {
        case .tinyint, .smallint, .int, .bigint, .counter, .float, .double, .decimal, .varint: true
        default: false
        }
    }

    /// The size of every non-empty value in bytes; nil for types of variable width.
    public var fixedWidth: Int? {
        switch self {
        case .tinyint, .boolean: 1
        case .smallint: 2
        case .int, .float, .date: 4
        case .bigint, .counter, .double, .timestamp, .time: 8
        case .uuid, .timeuuid: 16
        default: nil
        }
    }
}
