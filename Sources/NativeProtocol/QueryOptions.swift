import DataModel
import Primitives

/// The parameters of a statement: <query_parameters> of QUERY and EXECUTE, and the end of BATCH.
///
/// A connection decodes all requests into the same one.
public struct QueryOptions: Sendable {
    public var consistency: Consistency = .one
    /// The values of QUERY and EXECUTE. A batch has values in its statements.
    public var values = ValueList()
    /// Whether the response may omit the description of the result columns.
    public var skipMetadata = false
    /// The page size in rows; nil disables paging.
    public var pageSize: Int?
    /// The paging state of the page to return; nil for the first page.
    public var pagingState: [UInt8]?
    /// `serial` or `localSerial`; nil means not given, which counts as `serial`.
    public var serialConsistency: Consistency?
    /// The write timestamp in microseconds; nil when the server chooses it.
    public var defaultTimestamp: Int64?
    /// v5: the keyspace of unqualified names.
    public var keyspace: String?
    /// v5: the time to use as "now", in seconds since 1970.
    public var nowInSeconds: Int32?

    public init() {}

    mutating func reset() {
        consistency = .one
        values.removeAll()
        skipMetadata = false
        pageSize = nil
        pagingState = nil
        serialConsistency = nil
        defaultTimestamp = nil
        keyspace = nil
        nowInSeconds = nil
    }
}

/// Bits of the flags of query parameters (native_protocol_v5.spec, 4.1.4). Part of the protocol; do not change.
enum QueryFlag {
    static let values: UInt32 = 0x01
    static let skipMetadata: UInt32 = 0x02
    static let pageSize: UInt32 = 0x04
    static let pagingState: UInt32 = 0x08
    static let serialConsistency: UInt32 = 0x10
    static let defaultTimestamp: UInt32 = 0x20
    static let namedValues: UInt32 = 0x40
    static let keyspace: UInt32 = 0x80
    static let nowInSeconds: UInt32 = 0x100
}
