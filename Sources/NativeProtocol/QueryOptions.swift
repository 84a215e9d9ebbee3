import DataModel
import Primitives

/// What comes with a statement: <query_parameters> of QUERY and EXECUTE, and the tail of BATCH.
///
/// A connection keeps one and decodes into it again and again.
public struct QueryOptions: Sendable {
    public var consistency: Consistency = .one
    /// The values of QUERY and EXECUTE; a batch has its values with its statements.
    public var values = ValueList()
    /// The result's columns need not be described again.
    public var skipMetadata = false
    /// Rows a page; nil: all in one answer.
    public var pageSize: Int?
    /// Where the page begins; nil: at the start.
    public var pagingState: [UInt8]?
    /// `serial` or `localSerial`; nil: not given, `serial` is meant.
    public var serialConsistency: Consistency?
    /// Microseconds; nil: the server decides.
    public var defaultTimestamp: Int64?
    /// v5: the keyspace unqualified names are in.
    public var keyspace: String?
    /// v5: what the server takes for the current second.
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
