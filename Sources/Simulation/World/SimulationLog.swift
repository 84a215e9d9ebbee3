import Primitives

/// What happened in a run, in order: lines for people, and a fingerprint of everything.
///
/// SAFETY: `@unchecked Sendable` because it belongs to a world, which one thread runs.
public final class SimulationLog: @unchecked Sendable {
    /// How much of it is written out.
    public enum Detail: Int, Sendable, Comparable {
        /// Nothing but the result.
        case result
        /// Faults, starts and phases.
        case story
        /// Every request and what nodes say, too.
        case everything

        public static func < (a: Detail, b: Detail) -> Bool { a.rawValue < b.rawValue }
    }

    private let detail: Detail
    private let write: (String) -> Void
    /// Of all lines, written out or not.
    public private(set) var fingerprint: UInt64 = 0
    /// The last lines, for who asks what led to a violation.
    private(set) var lines = 0

    /// - Parameter write: takes a line, without its end.
    public init(detail: Detail, write: @escaping (String) -> Void) {
        self.detail = detail
        self.write = write
    }

    /// Notes what happened at a time.
    func note(_ nanoseconds: UInt64, _ level: Detail, _ text: String) {
        let line = "\(SimulationLog.seconds(nanoseconds)) \(text)"
        fingerprint = Checksum.xxh3(Array(line.utf8), seed: fingerprint)
        lines += 1
        if level <= detail { write(line) }
    }

    /// Seconds with six decimals.
    static func seconds(_ nanoseconds: UInt64) -> String {
        let micros = String(nanoseconds / 1_000 % 1_000_000)
        let whole = String(nanoseconds / Nanoseconds.second)
        return String(repeating: " ", count: max(0, 5 - whole.count)) + whole + "." + String(repeating: "0", count: 6 - micros.count)
            + micros
    }
}

extension SimulatedWorld {
    /// Notes what people should read of a run.
    func tell(_ text: String) { log.note(now, .story, text) }
    /// Notes a detail.
    func trace(_ text: String) { log.note(now, .everything, text) }
}
