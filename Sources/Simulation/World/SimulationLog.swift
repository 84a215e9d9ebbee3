import Primitives

/// The log of a run: lines for people, and a fingerprint of all events logged.
///
/// SAFETY: `@unchecked Sendable` because it belongs to a world, which one thread runs.
public final class SimulationLog: @unchecked Sendable {
    /// How much of the log is written out.
    public enum Detail: Int, Sendable, Comparable {
        /// Only the result.
        case result
        /// Faults, starts and phases.
        case story
        /// Also every request and the nodes' own logs.
        case everything

        public static func < (a: Detail, b: Detail) -> Bool { a.rawValue < b.rawValue }
    }

    private let detail: Detail
    private let write: (String) -> Void
    /// A hash of all lines, whether written out or not.
    public private(set) var fingerprint: UInt64 = 0
    /// The number of lines, whether written out or not.
    private(set) var lines = 0

    /// - Parameter write: called with each line, without a line end.
    public init(detail: Detail, write: @escaping (String) -> Void) {
        self.detail = detail
        self.write = write
    }

    /// Logs a line for a time.
    func note(_ nanoseconds: UInt64, _ level: Detail, _ text: String) {
        let line = "\(SimulationLog.seconds(nanoseconds)) \(text)"
        fingerprint = Checksum.xxh3(Array(line.utf8), seed: fingerprint)
        lines += 1
        if level <= detail { write(line) }
    }

    /// Formats a time as seconds with six decimals.
    static func seconds(_ nanoseconds: UInt64) -> String {
        let micros = String(nanoseconds / 1_000 % 1_000_000)
        let whole = String(nanoseconds / Nanoseconds.second)
        return String(repeating: " ", count: max(0, 5 - whole.count)) + whole + "."
            + String(repeating: "0", count: 6 - micros.count)
            + micros
    }
}

extension SimulatedWorld {
    /// Logs an event of the story.
    func tell(_ text: String) { log.note(now, .story, text) }
    /// Logs a detail.
    func trace(_ text: String) { log.note(now, .everything, text) }
}
