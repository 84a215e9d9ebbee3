import Primitives

/// A token and how often it changed hands before its present owner took it.
///
/// With equal partitions a token passes from node to node. While the news spreads, two nodes say that they own it; the greater
/// epoch is right, whoever hears it last. Random tokens are never passed on and keep epoch 0.
public struct TokenClaim: Hashable, Comparable, Sendable {
    public let token: Int64
    public let epoch: UInt32

    public init(_ token: Int64, epoch: UInt32 = 0) {
        self.token = token
        self.epoch = epoch
    }

    /// The claim of who takes the token over from whoever holds this claim. At the greatest epoch, which only nonsense from a peer can
    /// reach, the order of host ids decides.
    public func successor() -> TokenClaim { TokenClaim(token, epoch: epoch == UInt32.max ? epoch : epoch + 1) }

    public static func < (a: TokenClaim, b: TokenClaim) -> Bool { a.token != b.token ? a.token < b.token : a.epoch < b.epoch }

    /// The value of `GossipKey.tokens`: for each claim the token and the epoch, big-endian. Part of the format, do not change.
    public static func encode(_ claims: [TokenClaim]) -> [UInt8] {
        var writer = ByteWriter(capacity: claims.count * 12)
        for claim in claims {
            writer.writeBE(claim.token)
            writer.writeBE(claim.epoch)
        }
        return writer.toArray()
    }

    /// nil when the bytes are not whole claims.
    public static func decode(_ bytes: [UInt8]) -> [TokenClaim]? {
        guard bytes.count % 12 == 0 else { return nil }
        return bytes.withReader { reader in
            var claims: [TokenClaim] = []
            claims.reserveCapacity(bytes.count / 12)
            while !reader.isAtEnd {
                guard let token = try? reader.readBE(Int64.self), let epoch = try? reader.readBE(UInt32.self) else {
                    return nil  // not reached: the count was checked
                }
                claims.append(TokenClaim(token, epoch: epoch))
            }
            return claims
        }
    }
}
