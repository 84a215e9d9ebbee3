import ArgumentParser
import Glibc
import Primitives
import Simulation

struct SimulateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate", abstract: "Runs a whole cluster in one process, with faults, determined by a seed.",
        discussion: """
            Real nodes run on a simulated clock, disk, network and scheduler, with clients that check the answers. The \
            same seed gives the same log, byte for byte. The exit code is 1 when a guarantee was violated; the output \
            says which.
            """)

    @Option(help: "The seed of the run.")
    var seed: UInt64?

    @Option(help: "Seeds A..B to run, each in its own process.")
    var seeds: String?

    @Option(help: "The number of nodes.")
    var nodes = 5

    @Option(help: "Simulated minutes under faults.")
    var minutes = 10.0

    @Option(
        help: "all, none, or some, separated by commas: \(FaultKind.allCases.map(\.rawValue).joined(separator: ",")).")
    var faults = "all"

    @Option(help: "The number of concurrent clients.")
    var clients = 6

    @Option(help: "Workloads, separated by commas: \(Simulation.workloadNames.joined(separator: ",")). By default all.")
    var workloads: String?

    @Option(help: "A planted bug to activate, to check that the simulation finds it; may be repeated.")
    var bug: [String] = []

    @Option(
        help:
            "A planted bug with the cluster and fault options that find it; replaces --bug and those options. `list` lists them."
    )
    var planted: String?

    @Flag(help: "Run with the options of --planted, but without the bug.")
    var withoutBug = false

    @Flag(help: "With --seeds, stop after the first seed that fails.")
    var untilViolated = false

    @Option(
        name: .customLong("set"),
        help: "A setting of the nodes as key=value, which overrides the seed's choice; may be repeated.")
    var settings: [String] = []

    @Option(help: "With --seeds, the real seconds after which a run is killed.")
    var secondsLimit = 900

    @Flag(name: .shortAndLong, help: "Print every request and the nodes' logs.")
    var verbose = false

    @Flag(help: "Print only the result.")
    var resultOnly = false

    func run() throws {
        if planted == "list" {
            for bug in PlantedBug.allCases { print("\(bug.rawValue) \(PlantedRun(bug).firstSeed)") }
            return
        }
        let (asked, bugs) = try planted.map(plantedRun) ?? commandLineOptions()
        if let seeds {
            let bounds = seeds.split(separator: ".", omittingEmptySubsequences: true).map { UInt64($0) }
            guard bounds.count == 2, let first = bounds[0], let last = bounds[1], first <= last else {
                throw ValidationError("--seeds takes A..B")
            }
            return try runAll(first...last)
        }
        guard let seed else { throw ValidationError("give --seed N or --seeds A..B") }
        if let reason = SeedProcess.beginAnew() {
            diagnostic("auspex simulate: cannot restart with deterministic hashing: \(reason)")
            throw ExitCode(1)
        }
        PlantedBugs.set(bugs)
        var options = asked
        options.seed = seed
        options.detail = verbose ? .everything : resultOnly ? .result : .story
        let result = Simulation(options) { print($0) }.run()
        if result.violations.isEmpty {
            print("seed \(seed): ok, \(result.summary)")
        } else {
            for violation in result.violations.prefix(5) { print("seed \(seed): VIOLATED: \(violation)") }
            print("seed \(seed): \(result.violations.count) violations, \(result.summary)")
        }
        fflush(nil)
        // Exit without waiting: the threads of crashed nodes never end.
        _exit(result.violations.isEmpty ? 0 : 1)
    }

    private func plantedBug(_ name: String) throws -> PlantedBug {
        guard let bug = PlantedBug(rawValue: name) else {
            throw ValidationError(
                "unknown bug \(name); there are \(PlantedBug.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        return bug
    }

    private func plantedRun(_ name: String) throws -> (SimulationOptions, [PlantedBug]) {
        let run = PlantedRun(try plantedBug(name))
        return (run.options, withoutBug ? [] : [run.bug])
    }

    /// Returns the simulation options given on the command line, and the planted bugs.
    private func commandLineOptions() throws -> (SimulationOptions, [PlantedBug]) {
        guard let kinds = FaultKind.parse(faults) else {
            throw ValidationError(
                "unknown faults \(faults); there are all, none, \(FaultKind.allCases.map(\.rawValue).joined(separator: ", "))"
            )
        }
        guard (1...100).contains(nodes), minutes > 0, clients > 0 else {
            throw ValidationError("--nodes must be from 1 to 100, --minutes and --clients above 0")
        }
        let chosen = workloads.map { $0.split(separator: ",").map(String.init) } ?? []
        if let unknown = chosen.first(where: { !Simulation.workloadNames.contains($0) }) {
            throw ValidationError(
                "unknown workload \(unknown); there are \(Simulation.workloadNames.joined(separator: ", "))")
        }
        if let wrong = settings.first(where: { !$0.contains("=") }) {
            throw ValidationError("--set takes key=value; found \(wrong)")
        }
        var options = SimulationOptions()
        options.nodes = nodes
        options.seconds = max(1, Int(minutes * 60))
        options.faults = kinds
        options.clients = clients
        options.workloads = chosen
        options.settings = settings
        return (options, try bug.map(plantedBug))
    }

    /// Runs each seed in its own process.
    private func runAll(_ seeds: ClosedRange<UInt64>) throws {
        var failed: [UInt64] = []
        var count = 0
        for seed in seeds where failed.isEmpty || !untilViolated {
            count += 1
            if try !runAlone(seed) { failed.append(seed) }
        }
        let names = failed.map(String.init).joined(separator: " ")
        print("\(count - failed.count) of \(count) seeds ok" + (failed.isEmpty ? "" : "; not ok: \(names)"))
        if !failed.isEmpty { throw ExitCode(1) }
    }

    private func runAlone(_ seed: UInt64) throws -> Bool {
        var arguments = CommandLine.arguments
        if let index = arguments.firstIndex(of: "--seeds") {
            arguments[index] = "--seed"
            arguments[index + 1] = String(seed)
        } else if let index = arguments.firstIndex(where: { $0.hasPrefix("--seeds=") }) {
            arguments[index] = "--seed=\(seed)"
        }
        if !verbose && !resultOnly { arguments.append("--result-only") }
        switch SeedProcess.run(arguments, secondsLimit: secondsLimit) {
        case .exited(let status): return status == 0
        case .died(let signal): print("seed \(seed): VIOLATED: the process died of signal \(signal)")
        case .hung: print("seed \(seed): VIOLATED: the run hung and was killed after \(secondsLimit) s")
        case .notStarted(let reason):
            diagnostic("auspex simulate: cannot start a process: \(reason)")
            throw ExitCode(1)
        }
        return false
    }
}
