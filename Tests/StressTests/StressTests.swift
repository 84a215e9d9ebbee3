import Client
import DataModel
import NativeProtocol
import Primitives
import Synchronization
import Testing

@testable import Stress

@Suite("Stress") struct StressTests {
    @Test("the histogram's percentiles are correct within one percent") func histogram() {
        var histogram = LatencyHistogram()
        var random = SeededRandom(seed: 3)
        var values: [Int64] = []
        for _ in 0..<50_000 {
            let value = Int64.random(in: 0..<(1 << Int64.random(in: 1...40, using: &random)), using: &random)
            values.append(value)
            histogram.record(value)
        }
        values.sort()
        for quantile in [0.01, 0.5, 0.95, 0.99, 0.999, 1] {
            let exact = values[max(0, Int((Double(values.count) * quantile).rounded(.up)) - 1)]
            let found = histogram.percentile(quantile)
            #expect(found >= exact)
            #expect(Double(found) <= Double(exact) * 1.009 + 1)
        }
        #expect(histogram.max == values.last)
        #expect(abs(histogram.mean - Double(values.reduce(0, +)) / 50_000) < 1)
        var twice = histogram
        twice.add(histogram)
        #expect(twice.total == 100_000)
        #expect(twice.percentile(0.5) == histogram.percentile(0.5))
    }

    @Test("sequential keys of all connections cover each row once") func sequential() {
        var seen: [Int] = []
        for index in 0..<3 {
            var chooser = KeyChooser(.sequential, rows: 10, index: index, connections: 3, seed: 1, zipf: nil)
            for _ in 0..<(10 - index + 2) / 3 { seen.append(chooser.row()) }
        }
        #expect(seen.sorted() == Array(0..<10))
    }

    @Test("uniform keys are even, zipf keys are not") func distributions() {
        func counts(_ distribution: StressOptions.Distribution) -> [Int] {
            var chooser = KeyChooser(distribution, rows: 1000, index: 0, connections: 1, seed: 5, zipf: ZipfLaw(1000))
            var counts = [Int](repeating: 0, count: 1000)
            for _ in 0..<100_000 { counts[chooser.row()] += 1 }
            return counts.sorted(by: >)
        }
        #expect(counts(.uniform)[0] < 160)
        let zipf = counts(.zipf)
        #expect(zipf[0] > 9_000)
        #expect(zipf[..<10].reduce(0, +) > 30_000)
    }

    @Test("numbers are printed with their decimals") func numbers() {
        #expect(fixed(1.005, 1) == "1.0")
        #expect(fixed(0.049, 2) == "0.05")
        #expect(fixed(-3.999, 2) == "-4.00")
        #expect(fixed(12, 0) == "12")
        #expect(fixed(.nan, 1) == "0")
    }

    @Test("scan ranges cover the ring exactly once") func ranges() {
        let ranges = ScanRanges(count: 7)
        var last = Int64.min
        while let (start, end) = ranges.take(repeats: false) {
            #expect(start == last)
            #expect(end > start)
            last = end
        }
        #expect(last == Int64.max)
    }

    @Test("the report is one JSON object with the documented keys") func report() {
        var report = StressReport()
        report.operations = 10
        report.seconds = 2
        #expect(report.json.hasPrefix("{\"operations\":10,\"seconds\":2.000,\"ops_per_second\":5.0,\"errors\":0,"))
        #expect(
            report.json.contains(
                "\"latency_us\":{\"mean\":0.0,\"p50\":0.0,\"p95\":0.0,\"p99\":0.0,\"p999\":0.0,\"max\":0.0}"))
    }
}
