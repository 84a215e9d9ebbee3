/// How a store is opened for one row of the report.
struct PeerOptions {
    var cacheBytes = 1 << 30
    var codec = "snappy"
    /// Whether the store may compact in the background.
    var compactsInBackground = true
    /// The write buffer size of LevelDB and RocksDB, in bytes; Auspex gets memtables of twice the size.
    var writeBufferBytes = 64 << 20
}

/// A storage engine to measure. Keys have 16 bytes, values 100.
protocol Peer: AnyObject {
    static var name: String { get }
    init(directory: String, options: PeerOptions) throws
    /// Writes one entry to the log and memory, without a sync.
    func put(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) throws
    /// Writes entries as one batch.
    func put(batch: Int, _ entry: (Int) -> (UnsafeRawBufferPointer, UnsafeRawBufferPointer), sync: Bool) throws
    /// Writes one entry of a sequence of rising keys.
    func putSequential(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) throws
    func putSequential(batch: Int, _ entry: (Int) -> (UnsafeRawBufferPointer, UnsafeRawBufferPointer)) throws
    /// Returns the size of the value; -1 when the key is missing.
    func get(_ key: UnsafeRawBufferPointer) throws -> Int
    /// Reads everything; returns the number of entries and the bytes of their values.
    func scan(reversed: Bool) throws -> (entries: Int, bytes: Int)
    /// Reads up to `count` entries from the first that is not below `key`.
    func scan(from key: UnsafeRawBufferPointer, count: Int) throws -> Int
    /// Flushes memory and waits until background work is done.
    func settle() throws
    func compact() throws
    /// Closes without flushing memory, so that the next open replays the log.
    func abandon() throws
    func close() throws
}
