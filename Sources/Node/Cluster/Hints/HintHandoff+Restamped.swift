import DataModel
import Primitives

extension HintHandoff {
    /// The same rows, written at another time: what `PlantedBug.hintsRestamped` does to them.
    static func restamped(_ mutations: [UInt8], at time: Int64) -> [UInt8] {
        var changed = mutations
        mutations.withUnsafeBytes { bytes in
            var reader = MutationReader(bytes)
            do throws(ByteError) {
                while try reader.nextTable() {
                    while let operation = try reader.nextOperation() {
                        guard case .row(_, let row) = operation, RowView(row).flags.contains(.hasBase),
                            let base = bytes.baseAddress, let start = row.baseAddress
                        else { continue }
                        let place = start - base + 1
                        withUnsafeBytes(of: time.littleEndian) {
                            changed.replaceSubrange(place..<place + 8, with: $0)
                        }
                    }
                }
            } catch {}  // not reached: a coordinator wrote it
        }
        return changed
    }
}
