import DataModel
import Platform
import Primitives

/// The list of a table's sstables and the log position up to which they hold all writes. A file becomes part of the
/// table only by being named here.
///
///     manifest := "auspex manifest 1\n" "flushed SEGMENT OFFSET\n" ("table ID\n")* "checksum HEX\n"
///
/// It is replaced as a whole, by a rename of a synced file: after a crash it is the old one or the new one.
struct Manifest: Equatable {
    static let fileName = "MANIFEST"
    /// The greatest number of an sstable; greater ones follow those of the manifest.
    private static let largestTable: UInt32 = 1 << 31

    /// Every write of this table logged before this position is in its sstables.
    var flushed = LogPosition.start
    var tables: [UInt32] = []

    func encode() -> [UInt8] {
        var text = "auspex manifest 1\nflushed \(flushed.segment) \(flushed.offset)\n"
        for id in tables.sorted() { text += "table \(id)\n" }
        let checksum = Checksum.xxh3(Array(text.utf8))
        return Array((text + "checksum \(String(checksum, radix: 16))\n").utf8)
    }

    init() {}

    /// - Throws: `damaged` when the bytes are not a valid manifest.
    init(decoding bytes: [UInt8], path: String) throws(StorageError) {
        let lines = bytes.split(separator: 0x0a).map { String(decoding: $0, as: UTF8.self) }
        guard let last = lines.last, last.hasPrefix("checksum ") else {
            throw .damaged(path: path, offset: bytes.count, "the manifest has no checksum line")
        }
        let body = Array(bytes.dropLast(last.utf8.count + 1))
        guard UInt64(last.dropFirst(9), radix: 16) == Checksum.xxh3(body), lines.first == "auspex manifest 1" else {
            throw .damaged(path: path, offset: 0, "the manifest's checksum or version is wrong")
        }
        for line in lines.dropFirst().dropLast() {
            let words = line.split(separator: " ")
            switch words.first {
            case "flushed" where words.count == 3:
                guard let segment = UInt64(words[1]), segment <= LogPosition.largestSegment, let offset = Int(words[2])
                else { throw .damaged(path: path, offset: 0, "not a log position: \(line)") }
                flushed = LogPosition(segment: segment, offset: offset)
            case "table" where words.count == 2:
                guard let id = UInt32(words[1]), id <= Manifest.largestTable else {
                    throw .damaged(path: path, offset: 0, "not an sstable number: \(line)")
                }
                tables.append(id)
            default: throw .damaged(path: path, offset: 0, "unknown line: \(line)")
            }
        }
    }

    /// Reads the manifest of a table's directory; returns an empty one when there is none.
    static func read(_ system: any FileSystem, directory: String) throws(StorageError) -> Manifest {
        let path = directory + "/" + fileName
        guard system.exists(path) else { return Manifest() }
        let bytes: [UInt8]
        do { bytes = try system.readAll(path) } catch { throw .file(error) }
        return try Manifest(decoding: bytes, path: path)
    }

    func write(_ system: any FileSystem, directory: String) throws(StorageError) {
        do { try system.replace(directory + "/" + Manifest.fileName, with: encode(), directory: directory) } catch {
            throw .file(error)
        }
    }

    static func sstableFileName(_ id: UInt32) -> String { "\(id).sst" }

    static func sstableNumber(_ name: String) -> UInt32? { name.hasSuffix(".sst") ? UInt32(name.dropLast(4)) : nil }
}
