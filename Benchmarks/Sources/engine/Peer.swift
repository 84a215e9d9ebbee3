/// How a store is opened for a row of the table.
struct PeerOptions {
    var cacheBytes = 1 << 30
    var codec = "snappy"
    /// Whether the store may compact on its own.
    var compactsInBackground = true
    /// For LevelDB, which has one write buffer; the others have two of 64 MiB.
    var writeBufferBytes = 64 << 20
}

/// One storage engine under measurement. Keys have 16 bytes, values 100.
protocol Peer: AnyObject {
    static var name: String { get }
    init(directory: String, options: PeerOptions) throws
    /// Writes one entry, logged, not synced.
    func put(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) throws
    /// Writes entries as one batch.
    func put(batch: Int, _ entry: (Int) -> (UnsafeRawBufferPointer, UnsafeRawBufferPointer), sync: Bool) throws
    /// Writes one entry of a run of rising keys.
    func putSequential(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) throws
    func putSequential(batch: Int, _ entry: (Int) -> (UnsafeRawBufferPointer, UnsafeRawBufferPointer)) throws
    /// Bytes of the value found; -1 when there is none.
    func get(_ key: UnsafeRawBufferPointer) throws -> Int
    /// Walks everything; entries and bytes of values seen.
    func scan(reversed: Bool) throws -> (entries: Int, bytes: Int)
    /// Walks up to `count` entries from the first not below `key`.
    func scan(from key: UnsafeRawBufferPointer, count: Int) throws -> Int
    /// Writes memory out and waits until nothing is left to do.
    func settle() throws
    func compact() throws
    /// Ends without writing memory out, so that the next open replays the log.
    func abandon() throws
    func close() throws
}
