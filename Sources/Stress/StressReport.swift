/// The result of a run. Latencies are in microseconds.
public struct StressReport: Sendable {
    public var operations = 0
    public var seconds = 0.0
    public var errors = 0
    /// The number of rows that reads and scans returned.
    public var rowsRead = 0
    /// Reads that found no row, and conditional updates that were not applied.
    public var missing = 0
    /// This program's CPU time per operation, in microseconds.
    public var clientMicroseconds = 0.0
    public var mean = 0.0
    public var p50 = 0.0
    public var p95 = 0.0
    public var p99 = 0.0
    public var p999 = 0.0
    public var max = 0.0
    /// Up to five different error messages.
    public var messages: [String] = []
    /// The number of connections that failed.
    public var brokenConnections = 0

    public var operationsPerSecond: Double { seconds > 0 ? Double(operations) / seconds : 0 }

    /// The report as one JSON object on one line.
    public var json: String {
        "{\"operations\":\(operations),\"seconds\":\(fixed(seconds, 3)),\"ops_per_second\":\(fixed(operationsPerSecond, 1)),"
            + "\"errors\":\(errors),\"rows\":\(rowsRead),\"missing\":\(missing),\"client_cpu_us\":\(fixed(clientMicroseconds, 2)),"
            + "\"latency_us\":{\"mean\":\(fixed(mean, 1)),\"p50\":\(fixed(p50, 1)),\"p95\":\(fixed(p95, 1)),\"p99\":\(fixed(p99, 1)),"
            + "\"p999\":\(fixed(p999, 1)),\"max\":\(fixed(max, 1))}}"
    }

    /// The report as a few lines for people.
    public var text: String {
        var lines = [
            "operations   \(operations) in \(fixed(seconds, 2)) s, \(fixed(operationsPerSecond, 0)) per second, \(errors) errors",
            "latency      mean \(time(mean))  p50 \(time(p50))  p95 \(time(p95))  p99 \(time(p99))  p99.9 \(time(p999))  max \(time(max))",
            "this client  \(fixed(clientMicroseconds, 2)) us of CPU time per operation",
        ]
        if rowsRead > 0 || missing > 0 { lines.append("rows         \(rowsRead) read, \(missing) not found") }
        for message in messages { lines.append("error        \(message)") }
        return lines.joined(separator: "\n")
    }

    private func time(_ microseconds: Double) -> String {
        microseconds < 1000
            ? "\(fixed(microseconds, 0)) us"
            : microseconds < 1e6 ? "\(fixed(microseconds / 1e3, 2)) ms" : "\(fixed(microseconds / 1e6, 2)) s"
    }
}

/// Formats `value` with exactly `digits` decimals, without the C library's varargs.
func fixed(_ value: Double, _ digits: Int) -> String {
    guard value.isFinite, abs(value) < 1e15 else { return "0" }
    var scale = 1
    for _ in 0..<digits { scale *= 10 }
    let scaled = Int((abs(value) * Double(scale)).rounded())
    let sign = value < 0 && scaled > 0 ? "-" : ""
    if digits == 0 { return sign + String(scaled) }
    let fraction = String(scaled % scale)
    return sign + "\(scaled / scale)." + String(repeating: "0", count: digits - fraction.count) + fraction
}
