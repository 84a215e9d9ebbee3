import DataModel
import Primitives
import Storage

extension StorageEngine {
    /// Bytes of all sstables on this node's disk.
    var sstableBytes: Int { allTables.reduce(0) { $0 + $1.tables.reduce(0) { $0 + $1.fileBytes } } }

    /// The smallest `gc_grace_seconds` of the tables of mutations: applied later than that, a hint or a batch could
    /// bring a deleted row back.
    func leastGrace(of mutations: UnsafeRawBufferPointer) -> UInt32 {
        var least = UInt32.max
        var reader = MutationReader(mutations)
        do throws(ByteError) {
            while try reader.nextTable() {
                if let table = table(reader.table) { least = min(least, table.options.gcGraceSeconds) }
            }
        } catch { return 0 }  // not reached: a coordinator wrote it
        return least == .max ? 864_000 : least
    }
}
