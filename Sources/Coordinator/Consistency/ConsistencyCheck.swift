import DataModel
import Primitives

/// The number of replicas a consistency level needs, and whether enough are alive.
public enum ConsistencyCheck {
    /// The kind of request: each allows different levels.
    public enum Request: Sendable {
        case read
        case write
        case counterWrite(table: String)
        /// The commit of a lightweight transaction.
        case conditionalCommit
    }

    /// The number of replicas that must answer.
    public static func required(_ consistency: Consistency, _ replication: Replication) -> Int {
        if PlantedBugs.isOn(.oneIsEnough) { return 1 }
        return switch consistency {
        case .any, .one, .localOne: 1
        case .two: 2
        case .three: 3
        case .quorum, .serial: replication.total / 2 + 1
        case .all: replication.total
        case .localQuorum, .localSerial: replication.local / 2 + 1
        case .eachQuorum:
            replication.dataCenters.isEmpty
                ? replication.total / 2 + 1
                : replication.dataCenters.values.reduce(0) { $0 + ($1 > 0 ? $1 / 2 + 1 : 0) }
        }
    }

    /// - Parameter alive: the number of live replicas of the data.
    /// - Throws: `invalid` when the level is not allowed for the request, `unavailable` when too few replicas are
    ///   alive.
    public static func check(
        _ consistency: Consistency, _ replication: Replication, alive: Int, for request: Request
    ) throws(ServerError) {
        switch (request, consistency) {
        case (.read, .any): throw .invalid("ANY ConsistencyLevel is only supported for writes")
        case (.write, .serial), (.write, .localSerial):
            throw .invalid("You must use conditional updates for serializable writes")
        case (.counterWrite(let table), .any):
            throw .invalid("Consistency level ANY is not yet supported for counter table \(table)")
        case (.counterWrite, .serial), (.counterWrite, .localSerial):
            throw .invalid("Counter operations are inherently non-serializable")
        case (.conditionalCommit, .serial), (.conditionalCommit, .localSerial):
            throw .invalid(
                "\(consistency.name) is not supported as conditional update commit consistency. Use ANY if you mean "
                    + "\"make sure it is accepted but I don't care how many replicas commit it for non-SERIAL reads\""
            )
        default: break
        }
        try checkAlive(consistency, replication, alive)
    }

    private static func checkAlive(
        _ consistency: Consistency, _ replication: Replication, _ alive: Int
    ) throws(ServerError) {
        let needed = required(consistency, replication)
        let reachable = consistency == .any ? max(alive, 1) : alive
        guard reachable >= needed else {
            throw CoordinatorErrors.unavailable(consistency, required: needed, alive: alive)
        }
    }

    /// Checks the serial consistency level of a lightweight transaction.
    public static func checkSerial(_ consistency: Consistency, _ replication: Replication, alive: Int)
        throws(ServerError)
    {
        guard consistency == .serial || consistency == .localSerial else {
            throw .invalid("Invalid consistency for conditional update. Must be one of SERIAL or LOCAL_SERIAL")
        }
        try checkAlive(consistency, replication, alive)
    }
}
