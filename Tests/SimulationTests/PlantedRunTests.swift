import Primitives
import Testing

@testable import Simulation

/// Checks the definitions of the runs that find planted bugs; `tools/planted-bugs` executes them.
@Suite struct PlantedRunTests {
    @Test(arguments: PlantedBug.allCases) func everyPlantedBugHasARun(_ bug: PlantedBug) {
        let run = PlantedRun(bug)
        #expect(run.bug == bug)
        #expect(run.firstSeed > 0)
        #expect(!run.options.workloads.isEmpty)
        #expect(run.options.workloads.allSatisfy { Simulation.workloadNames.contains($0) })
        #expect(!run.options.faults.isEmpty)
    }
}
