import Platform
import Primitives

/// The file that keeps the greatest generation this node has gossiped with.
struct GenerationFile: Sendable {
    let system: any FileSystem
    let directory: String
    let time: any TimeSource

    static let name = "generation"

    /// Returns a generation greater than any this node has used; it is on the disk when this returns.
    func next(above known: Int64 = 0) throws(NodeError) -> Int64 {
        let path = directory + "/" + GenerationFile.name
        do throws(FileError) {
            var last = known
            // A file that does not parse counts as missing: the other nodes remember the generation, and what they
            // remember raises it (`GossipEvent.superseded`).
            if system.exists(path),
                let number = Int64(String(decoding: try system.readAll(path), as: UTF8.self).prefix { !$0.isNewline })
            {
                last = max(last, number)
            }
            if PlantedBugs.isOn(.generationNotRaised) && last > known { return last }
            // A file may hold any number.
            let next = max(last == .max ? last : last + 1, time.wallMicroseconds() / 1_000_000)
            try system.replace(path, with: Array("\(next)\n".utf8), directory: directory)
            return next
        } catch { throw .file(error) }
    }
}
