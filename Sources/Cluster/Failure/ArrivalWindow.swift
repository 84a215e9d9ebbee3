/// The last intervals between heartbeats of one node, in microseconds.
struct ArrivalWindow: Sendable {
    private var intervals: [Int64] = []
    private var oldest = 0
    private var sum: Int64 = 0
    private(set) var lastArrival: Int64
    private(set) var lastInterval: Int64 = 0

    /// - Parameter first: the initial interval, so that there is a mean before the second heartbeat.
    init(arrival: Int64, first: Int64) {
        lastArrival = arrival
        intervals = [first]
        sum = first
    }

    var count: Int { intervals.count }
    var mean: Double { Double(sum) / Double(intervals.count) }

    /// - Parameters:
    ///   - capacity: the number of intervals kept.
    ///   - longest: a longer interval counts as an outage and is not kept.
    mutating func add(arrival: Int64, capacity: Int, longest: Int64) {
        let interval = max(0, arrival - lastArrival)
        lastArrival = max(arrival, lastArrival)
        lastInterval = interval
        guard interval <= longest else { return }
        sum += interval
        if intervals.count < capacity {
            intervals.append(interval)
        } else {
            sum -= intervals[oldest]
            intervals[oldest] = interval
            oldest = oldest + 1 == capacity ? 0 : oldest + 1
        }
    }

    /// Counts the silence from `arrival` on and keeps the intervals.
    mutating func resume(at arrival: Int64) { lastArrival = max(arrival, lastArrival) }
}
