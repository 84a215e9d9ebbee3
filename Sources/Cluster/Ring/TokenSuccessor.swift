import Primitives

/// A token of a leaving node and the node that takes it over.
public struct TokenSuccessor: Hashable, Sendable {
    public let token: Int64
    /// Host id of the node that takes it.
    public let heir: UUID

    public init(token: Int64, heir: UUID) {
        self.token = token
        self.heir = heir
    }

    /// Encodes heirs as in the metadata: per token its 8 bytes, big-endian, then the 16 bytes of the host id. Part of
    /// the format; do not change.
    public static func encode(_ heirs: [TokenSuccessor]) -> [UInt8] {
        var writer = ByteWriter(capacity: heirs.count * 24)
        for heir in heirs {
            writer.writeBE(heir.token)
            writer.writeBE(heir.heir.high)
            writer.writeBE(heir.heir.low)
        }
        return writer.toArray()
    }

    /// Returns nil when the bytes are not a whole number of entries.
    public static func decode(_ bytes: [UInt8]) -> [TokenSuccessor]? {
        guard bytes.count % 24 == 0 else { return nil }
        return bytes.withReader { reader in
            var heirs: [TokenSuccessor] = []
            heirs.reserveCapacity(bytes.count / 24)
            while !reader.isAtEnd {
                guard let token = try? reader.readBE(Int64.self), let high = try? reader.readBE(UInt64.self),
                    let low = try? reader.readBE(UInt64.self)
                else { return nil }  // unreachable: the length was checked
                heirs.append(TokenSuccessor(token: token, heir: UUID(high: high, low: low)))
            }
            return heirs
        }
    }
}
