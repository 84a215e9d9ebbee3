/// Deletes everything in `start ..< end` up to and including the deletion's timestamp.
public struct RangeTombstone: Sendable, Equatable {
    public var start: [UInt8]
    public var end: [UInt8]
    public var deletion: DeletionTime

    public init(start: [UInt8], end: [UInt8], deletion: DeletionTime) {
        self.start = start
        self.end = end
        self.deletion = deletion
    }
}
