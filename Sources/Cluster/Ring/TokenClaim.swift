import Primitives

/// A token and the number of times it has changed owners.
///
/// With equal partitions a token passes from node to node. If two nodes claim it, the greater epoch wins. Random tokens
/// never pass on and keep epoch 0.
public struct TokenClaim: Hashable, Comparable, Sendable {
    public let token: Int64
    public let epoch: UInt32

    public init(_ token: Int64, epoch: UInt32 = 0) {
        self.token = token
        self.epoch = epoch
    }

    /// Returns the claim of the next owner: the same token with the next epoch. At the greatest epoch, which only
    /// corrupt data can reach, the epoch stays and the order of host ids decides.
    public func successor() -> TokenClaim { TokenClaim(token, epoch: epoch == UInt32.max ? epoch : epoch + 1) }

    public static func < (a: TokenClaim, b: TokenClaim) -> Bool {
        a.token != b.token ? a.token < b.token : a.epoch < b.epoch
    }

    /// Encodes claims as in the metadata: token and epoch of each, big-endian. Part of the format; do not change.
    public static func encode(_ claims: [TokenClaim]) -> [UInt8] {
        var writer = ByteWriter(capacity: claims.count * 12)
        for claim in claims {
            writer.writeBE(claim.token)
            writer.writeBE(claim.epoch)
        }
        return writer.toArray()
    }

    /// Returns nil when the bytes are not a whole number of claims.
    public static func decode(_ bytes: [UInt8]) -> [TokenClaim]? {
        guard bytes.count % 12 == 0 else { return nil }
        return bytes.withReader { reader in
            var claims: [TokenClaim] = []
            claims.reserveCapacity(bytes.count / 12)
            while !reader.isAtEnd {
                guard let token = try? reader.readBE(Int64.self), let epoch = try? reader.readBE(UInt32.self) else {
                    return nil  // unreachable: the length was checked
                }
                claims.append(TokenClaim(token, epoch: epoch))
            }
            return claims
        }
    }
}
