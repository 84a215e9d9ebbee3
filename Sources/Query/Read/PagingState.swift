import DataModel
import Primitives

/// The position at which the next page of a SELECT begins. Opaque to clients; checked when it comes back.
///
///     state := version (1) fingerprint (8) range (varint) remaining (varint) inPartition (varint)
///              keyLength (varint) key checksum (8)
///
/// The fingerprint identifies the statement. The checksum is XXH3 over all bytes before it.
struct PagingState: Equatable {
    static let version: UInt8 = 1
    private static let mostRows = 1 << 32

    var fingerprint: UInt64
    /// The index of the statement's partition (IN) in which the page begins; 0 for scans.
    var range: Int
    /// Rows (groups) that LIMIT still allows; nil without LIMIT.
    var remaining: Int?
    /// Rows (groups) of the key's partition that earlier pages returned.
    var inPartition: Int
    /// The page begins at this engine key: with its row, or with the next one.
    var key: [UInt8]

    func encode() -> [UInt8] {
        var writer = ByteWriter(capacity: key.count + 64)
        writer.write(PagingState.version)
        writer.writeBE(fingerprint)
        writer.writeVarint(range)
        writer.writeVarint(remaining.map { UInt64($0) + 1 } ?? 0)
        writer.writeVarint(inPartition)
        writer.writeVarint(key.count)
        writer.write(key)
        writer.writeBE(Checksum.xxh3(writer.bytes))
        return writer.toArray()
    }

    /// - Throws: when the bytes are not a paging state of this statement.
    static func decode(_ bytes: [UInt8], fingerprint: UInt64) throws(ServerError) -> PagingState {
        let refused = ServerError.invalid("Invalid value for the paging state")
        let state: PagingState?
        do throws(ByteError) {
            state = try bytes.withReader { (reader) throws(ByteError) in
                guard reader.count >= 9 else { return nil }
                let sum = Checksum.xxh3(Array(bytes.dropLast(8)))
                guard try reader.readU8() == version, try reader.readBE(UInt64.self) == fingerprint else { return nil }
                let range = try reader.readCount()
                let remaining = try reader.readCount()
                let inPartition = try reader.readCount()
                let key = try reader.readArray(try reader.readCount())
                guard try reader.readBE(UInt64.self) == sum, reader.isAtEnd else { return nil }
                // A client may send any number; these are counted on from.
                guard range <= mostRows, remaining <= mostRows, inPartition <= mostRows else { return nil }
                return PagingState(
                    fingerprint: fingerprint, range: range, remaining: remaining == 0 ? nil : remaining - 1,
                    inPartition: inPartition,
                    key: key)
            }
        } catch { throw refused }
        guard let state else { throw refused }
        return state
    }
}
