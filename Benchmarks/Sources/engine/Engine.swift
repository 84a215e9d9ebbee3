import ArgumentParser
import Foundation

/// Compares our storage engine with RocksDB and LevelDB: the same keys, values, durability and cache, taking turns in
/// one run.
@main struct Engine: ParsableCommand {
    @Option(help: "Entries of the filled stores.") var entries = 1_000_000
    @Option(help: "Rounds; the medians are reported.") var rounds = 5
    @Option(help: "Where the stores go.") var directory = "/tmp/auspex-bench"
    @Option(
        help: "Groups of rows, separated by commas: fillseq, fillbatch, sync, replay, read, compact; all without it.")
    var rows = ""
    @Option(help: "Engines, separated by commas.") var engines = "auspex,rocksdb,leveldb"
    @Option(help: "Also writes the medians and ratios to this file, as JSON.") var json: String?
    @Option(help: .hidden) var worker: String?

    mutating func run() throws {
        let chosen = Set(rows.split(separator: ",").map(String.init))
        if let worker {
            let place = directory + "/" + worker
            let results: [(name: String, value: Double)]
            switch worker {
            case "auspex": results = try Self.work(AuspexPeer.self, entries, place, chosen)
            case "rocksdb": results = try Self.work(RocksDBPeer.self, entries, place, chosen)
            case "leveldb": results = try Self.work(LevelDBPeer.self, entries, place, chosen)
            default: throw ValidationError("no engine is called \(worker)")
            }
            for result in results { print("\(result.name)\t\(result.value)") }
            return
        }
        var all: [String: [String: [Double]]] = [:]
        var order: [String] = []
        let names = engines.split(separator: ",").map(String.init)
        for round in 0..<rounds {
            FileHandle.standardError.write(Data("round \(round + 1) of \(rounds)\n".utf8))
            for index in names.indices {
                let name = names[(index + round) % names.count]
                for (row, value) in try spawn(name) {
                    if !order.contains(row) { order.append(row) }
                    all[row, default: [:]][name, default: []].append(value)
                }
            }
        }
        report(all, order, names)
    }

    private static func work<P: Peer & Sendable>(_: P.Type, _ entries: Int, _ directory: String, _ rows: Set<String>)
        throws -> [(
            name: String, value: Double
        )]
    {
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        var worker = Worker<P>(entries: entries, directory: directory)
        try worker.run(rows)
        return worker.results
    }

    private func spawn(_ name: String) throws -> [(String, Double)] {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        process.arguments = ["--worker", name, "--entries", "\(entries)", "--directory", directory, "--rows", rows]
        let pipe = Pipe()
        process.standardOutput = pipe
        try process.run()
        let text = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw ValidationError("\(name) ended with status \(process.terminationStatus)")
        }
        return text.split(separator: "\n").compactMap { line in
            let parts = line.split(separator: "\t")
            return parts.count == 2 ? Double(parts[1]).map { (String(parts[0]), $0) } : nil
        }
    }

    private func report(_ all: [String: [String: [Double]]], _ order: [String], _ names: [String]) {
        func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
        func pad(_ text: String, _ width: Int) -> String {
            text + String(repeating: " ", count: max(1, width - text.count))
        }
        print(pad("row", 36) + names.map { pad($0, 14) }.joined() + "ours / better peer")
        var lines: [[String: Any]] = []
        for row in order {
            let medians = (all[row] ?? [:]).mapValues(median)
            let isMemory = row.hasPrefix("memory")
            let peers = medians.filter { $0.key != "auspex" }.values
            let best = isMemory ? peers.min() : peers.max()
            let ratio = medians["auspex"].flatMap { ours in best.map { ours / $0 } }
            print(
                pad(row, 36) + names.map { pad(medians[$0].map { String(Int($0)) } ?? "-", 14) }.joined()
                    + (ratio.map { String(format: "%.2f", $0) } ?? "-"))
            lines.append(["row": row, "medians": medians, "ratio": ratio ?? 0])
        }
        if let json,
            let data = try? JSONSerialization.data(
                withJSONObject: ["entries": entries, "rounds": rounds, "rows": lines],
                options: [.prettyPrinted, .sortedKeys])
        {
            try? data.write(to: URL(fileURLWithPath: json))
        }
    }
}
