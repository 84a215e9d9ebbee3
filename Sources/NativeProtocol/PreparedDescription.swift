import DataModel

/// What a PREPARE is answered with.
public struct PreparedDescription: Sendable {
    /// What EXECUTE names the statement by.
    public var id: [UInt8]
    /// v5: what EXECUTE names the known result columns by; changes when they do.
    public var resultMetadataID: [UInt8]
    /// The bind markers.
    public var markers: [ColumnSpec]
    /// For each partition-key column, the marker that is bound to it; empty when one has none.
    public var partitionKeyMarkers: [UInt16]
    /// The columns of the result; nil when it has no rows.
    public var result: ResultMetadata?

    public init(
        id: [UInt8], resultMetadataID: [UInt8], markers: [ColumnSpec], partitionKeyMarkers: [UInt16], result: ResultMetadata?
    ) {
        self.id = id
        self.resultMetadataID = resultMetadataID
        self.markers = markers
        self.partitionKeyMarkers = partitionKeyMarkers
        self.result = result
    }
}
