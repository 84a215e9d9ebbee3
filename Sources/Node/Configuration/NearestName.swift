/// Suggests a known name for a misspelled one.
enum NearestName {
    /// Returns the name with the smallest edit distance or, failing that, the shortest that contains all the words; nil
    /// if none is close.
    static func of(_ name: String, among known: [String]) -> String? {
        let wanted = Array(name.lowercased().utf8)
        var best: (name: String, distance: Int)?
        for candidate in known {
            let distance = editDistance(wanted, Array(candidate.utf8))
            if distance < best?.distance ?? Int.max { best = (candidate, distance) }
        }
        if let best, best.distance <= max(2, best.name.utf8.count / 4) { return best.name }
        let words = Set(name.lowercased().split(separator: "_"))
        return known.filter { words.isSubset(of: Set($0.split(separator: "_"))) }.min { $0.utf8.count < $1.utf8.count }
    }

    /// The Levenshtein distance, with a single row of memory; O(a·b).
    static func editDistance(_ a: [UInt8], _ b: [UInt8]) -> Int {
        var row = Array(0...b.count)
        for (i, left) in a.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for (j, right) in b.enumerated() {
                let substituted = diagonal + (left == right ? 0 : 1)
                diagonal = row[j + 1]
                row[j + 1] = min(substituted, row[j] + 1, diagonal + 1)
            }
        }
        return row[b.count]
    }
}
