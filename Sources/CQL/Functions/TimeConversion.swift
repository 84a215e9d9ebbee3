import DataModel
import Primitives

/// Conversions between the types that represent a time.
enum TimeConversion {
    static func milliseconds(micros: Int64) -> Int64 { micros / 1000 - (micros % 1000 < 0 ? 1 : 0) }

    /// Returns days since 1970 plus 2^31; times outside the range of `date` are clamped.
    static func date(milliseconds: Int64) -> UInt32 {
        let day: Int64 = 86_400_000
        let days = milliseconds / day - (milliseconds % day < 0 ? 1 : 0)
        return UInt32(clamping: days.addingReportingOverflow(1 << 31).partialValue)
    }

    /// Returns milliseconds since 1970 for a timestamp, date or timeuuid; nil for the empty value and for UUIDs of
    /// other versions.
    static func milliseconds(_ value: [UInt8], of type: CQLType) -> Int64? {
        switch type {
        case .timestamp: return value.withUnsafeBytes { CQLType.integer($0) }
        case .date:
            let raw: UInt32? = value.withUnsafeBytes { CQLType.integer($0) }
            return raw.map { (Int64($0) - (1 << 31)) * 86_400_000 }
        case .timeuuid, .uuid:
            guard let id = UUID(bytes: value), id.version == 1 else { return nil }
            let ticks = Int64(id.ticks) - Int64(UUID.unixEpochTicks)
            return ticks / 10_000 - (ticks % 10_000 < 0 ? 1 : 0)
        default: return nil
        }
    }

    /// Returns the least or greatest time-based UUID of a millisecond, in the order of `timeuuid`.
    static func bound(milliseconds: Int64, isUpper: Bool) -> UUID {
        // Clamp times that 60 bits of ticks cannot represent.
        let limit = (Int64(1) << 60) - 1
        let (product, overflow) = milliseconds.multipliedReportingOverflow(by: 10_000)
        let base = overflow ? (milliseconds < 0 ? 0 : limit) : product
        let (sum, overflow2) = base.addingReportingOverflow(Int64(UUID.unixEpochTicks) + (isUpper ? 9_999 : 0))
        let ticks = UInt64(overflow2 ? limit : max(0, min(sum, limit)))
        // The bytes of the low half compare as signed numbers: 80 is the least, 7f the greatest.
        return UUID(
            high: UUID.timeBased(ticks: ticks, clockSequenceAndNode: 0).high,
            low: isUpper ? 0x7f7f_7f7f_7f7f_7f7f : 0x8080_8080_8080_8080)
    }
}
