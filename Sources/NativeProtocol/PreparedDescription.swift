import DataModel

/// The response to PREPARE.
public struct PreparedDescription: Sendable {
    /// The id of the statement for EXECUTE.
    public var id: [UInt8]
    /// v5: the id of the result metadata, which EXECUTE sends back; it changes with the result columns.
    public var resultMetadataID: [UInt8]
    /// The bind markers.
    public var markers: [ColumnSpec]
    /// The index of the bind marker for each partition key column; empty unless every column has one.
    public var partitionKeyMarkers: [UInt16]
    /// The result columns; nil when the statement returns no rows.
    public var result: ResultMetadata?

    public init(
        id: [UInt8], resultMetadataID: [UInt8], markers: [ColumnSpec], partitionKeyMarkers: [UInt16],
        result: ResultMetadata?
    ) {
        self.id = id
        self.resultMetadataID = resultMetadataID
        self.markers = markers
        self.partitionKeyMarkers = partitionKeyMarkers
        self.result = result
    }
}
