import Foundation
import Testing

@testable import Simulation

/// Complete runs, mostly of one node, with single faults.
@Suite struct SimulationTests {
    private func run(_ seed: UInt64, _ faults: [FaultKind], seconds: Int = 15, workloads: [String] = [])
        -> SimulationResult
    {
        var options = SimulationOptions()
        options.seed = seed
        options.nodes = 1
        options.seconds = seconds
        options.faults = faults
        options.workloads = workloads
        options.detail = .result
        return Simulation(options) { _ in }.run()
    }

    @Test(arguments: FaultKind.usual) func clusterSurvivesEachKindOfFault(_ kind: FaultKind) {
        // Clock jumps run without transactions.
        let workloads = kind == .jump ? ["registers", "deletions", "batches", "schema"] : []
        let result = run(11, [kind], workloads: workloads)
        #expect(result.violations.map(\.description) == [])
        #expect(result.requests > 100)
        #expect(result.faults > 0)
    }

    @Test func noOutcomeIsUnknownWithoutFaults() {
        let result = run(3, [])
        #expect(result.violations.map(\.description) == [])
        #expect(result.unknown == 0)
        #expect(result.starts == 1)
    }

    @Test func clusterSurvivesSeveralFaultsAtOnce() {
        for seed in 21...23 as ClosedRange<UInt64> {
            let result = run(seed, [.crash, .kill, .restart, .pause, .breaks, .slowdisk, .cold])
            #expect(result.violations.map(\.description) == [], "seed \(seed)")
        }
    }

    @Test func workloadIsChosenByName() { #expect(run(1, [], seconds: 3, workloads: ["registers"]).violations.isEmpty) }

    @Test func threeNodesFormACluster() {
        var options = SimulationOptions()
        options.seed = 4
        options.nodes = 3
        options.seconds = 8
        options.faults = [.crash, .kill, .pause, .partition, .breaks]
        options.detail = .result
        let result = Simulation(options) { _ in }.run()
        #expect(result.violations.map(\.description) == [])
        #expect(result.requests > 100)
        #expect(result.faults > 0)
    }

    // MARK: The command

    /// Runs the `auspex` binary beside the tests with the subcommand `simulate`.
    private func simulate(_ arguments: [String]) throws -> (status: Int32, output: Data) {
        let process = Process()
        let tests = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
        process.executableURL = tests.appendingPathComponent("auspex")
        process.arguments = ["simulate"] + arguments
        let pipe = Pipe()
        process.standardOutput = pipe
        try process.run()
        let output = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, output)
    }

    @Test func sameSeedGivesTheSameLog() throws {
        let arguments = [
            "--seed", "5", "--nodes", "1", "--minutes", "0.3", "--faults", "crash,kill,restart,pause,breaks,cold,skew",
            "-v",
        ]
        let (first, second) = (try simulate(arguments), try simulate(arguments))
        #expect(first.status == 0)
        #expect(first.output == second.output)
        #expect(first.output.count > 10_000)
        #expect(try simulate(["--seed", "6"] + arguments.dropFirst(2)).output != first.output)
    }

    @Test func diskThatLosesSyncedDataIsDetected() throws {
        let found = try simulate(
            ["--seeds", "1..3", "--nodes", "1", "--minutes", "0.5", "--faults", "crash", "--bug", "disk-forgets-syncs"])
        #expect(found.status == 1)
        #expect(String(decoding: found.output, as: UTF8.self).contains("VIOLATED"))
    }

    @Test func oneReplyInsteadOfAMajorityIsDetected() throws {
        let found = try simulate(
            [
                "--seeds", "1..2", "--nodes", "3", "--minutes", "0.3", "--bug", "one-is-enough", "--workloads",
                "registers,counters,deletions",
            ])
        #expect(found.status == 1)
        #expect(String(decoding: found.output, as: UTF8.self).contains("VIOLATED"))
    }

    @Test func plantedRunsFindTheirBugAndNothingWithoutIt() throws {
        let run = ["--planted", "acknowledged-before-sync", "--seeds", "1..3", "--until-violated"]
        let found = try simulate(run)
        #expect(found.status == 1)
        #expect(String(decoding: found.output, as: UTF8.self).contains("VIOLATED"))
        #expect(try simulate(["--planted", "acknowledged-before-sync", "--seed", "1", "--without-bug"]).status == 0)
    }

    @Test func wrongUsageIsRefused() throws {
        #expect(try simulate(["--seed", "1", "--faults", "earthquake"]).status == 64)
        #expect(try simulate(["--seeds", "3..1"]).status == 64)
        #expect(try simulate([]).status == 64)
        #expect(try simulate(["--seed", "1", "--planted", "a-bug-nobody-knows"]).status == 64)
        #expect(try simulate(["--seed", "1", "--set", "no setting"]).status == 64)
    }
}
