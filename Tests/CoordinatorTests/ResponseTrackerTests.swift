import DataModel
import Testing
import VirtualCluster

@testable import Cluster
@testable import Coordinator

@Suite struct AnswerCountTests {
    /// The data center of one answer; "a" is local.
    private typealias Answer = String

    /// Nodes 0 to 3 are in "a", the local data center, and 4 to 7 in "b".
    private static let view = VirtualCluster(
        8, seed: 1, options: ["class": "SimpleStrategy", "replication_factor": "3"],
        locations: (0..<8).map { Location(dataCenter: $0 < 4 ? "a" : "b", rack: "r") }, tokensPerNode: 1
    ).view(0)
    private static func nodes(_ answers: [Answer]) -> [Int] {
        var next = ["a": 0, "b": 4]
        return answers.map { answer in
            defer { next[answer, default: 0] += 1 }
            return next[answer, default: 0]
        }
    }

    private static let replications: [Replication] = [
        Replication(total: 3, local: 3, dataCenters: [:]),
        Replication(total: 5, local: 3, dataCenters: ["a": 3, "b": 2]),
        Replication(total: 3, local: 0, dataCenters: ["b": 3]),
        Replication(total: 3, local: 3, dataCenters: ["a": 3, "b": 0]),
        Replication(total: 1, local: 1, dataCenters: ["a": 1]),
    ]

    /// A direct statement of each consistency level's rule.
    private static func isMet(
        _ level: Consistency, _ replication: Replication, _ pending: [Answer], _ answers: [Answer]
    ) -> Bool {
        func quorum(_ factor: Int) -> Int { factor / 2 + 1 }
        let near = answers.filter { $0 == "a" }.count
        let nearPending = pending.filter { $0 == "a" }.count
        switch level {
        case .any, .one: return answers.count >= 1 + pending.count
        case .two: return answers.count >= 2 + pending.count
        case .three: return answers.count >= 3 + pending.count
        case .quorum, .serial: return answers.count >= quorum(replication.total) + pending.count
        case .all: return answers.count >= replication.total + pending.count
        case .localOne: return near >= 1 + nearPending
        case .localQuorum, .localSerial: return near >= quorum(replication.local) + nearPending
        case .eachQuorum:
            if replication.dataCenters.isEmpty { return answers.count >= quorum(replication.total) + pending.count }
            return Set(replication.dataCenters.keys).union(pending).allSatisfy { name in
                let factor = replication.dataCenters[name, default: 0]
                return answers.filter { $0 == name }.count >= (factor == 0 ? 0 : quorum(factor))
                    + pending.filter { $0 == name }.count
            }
        }
    }

    @Test(arguments: Consistency.allCases) func everyLevelWithEveryNumberOfAnswers(level: Consistency) {
        for replication in Self.replications {
            for pending in [[], ["a"], ["b"], ["a", "b"]] as [[Answer]] {
                for near in 0...4 {
                    for far in 0...4 {
                        let answers = [Answer](repeating: "b", count: far) + [Answer](repeating: "a", count: near)
                        var count = ResponseTracker(level, replication, near: "a", pending: pending)
                        let could = count.couldBeMet(with: Self.nodes(answers), in: Self.view)
                        for node in Self.nodes(answers) { count.add(node, in: Self.view) }
                        let expected = Self.isMet(level, replication, pending, answers)
                        #expect(
                            count.isMet == expected && could == expected,
                            "\(replication) pending \(pending) answers \(answers)")
                        // A met level never has fewer answers than required in total.
                        if count.isMet { #expect(count.total >= count.required) }
                    }
                }
            }
        }
    }

    @Test(arguments: Consistency.allCases) func requiredNumberMatchesConsistencyCheck(level: Consistency) {
        for replication in Self.replications {
            let count = ResponseTracker(level, replication, near: "a")
            #expect(count.required == ConsistencyCheck.required(level, replication))
        }
    }

    @Test func localLevelsIgnoreOtherDataCenters() {
        let replication = Replication(total: 6, local: 3, dataCenters: ["a": 3, "b": 3])
        for level in [Consistency.localOne, .localQuorum, .localSerial] {
            var count = ResponseTracker(level, replication, near: "a", pending: ["b"])
            for node in 4...6 { count.add(node, in: Self.view) }
            #expect(count.total == 0 && !count.isMet)
            count.add(0, in: Self.view)
            #expect(count.isMet == (level == .localOne))
            count.add(0, in: Self.view)
            #expect(count.isMet)
        }
    }
}
