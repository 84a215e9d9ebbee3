import Cluster
import DataModel
import Messages
import Primitives
import Repair

/// The admin commands about the cluster; any node can answer them.
extension AdminCommands {
    private var cluster: ClusterService { node.cluster }

    /// Two letters, as in nodetool: up or down; normal, leaving or joining.
    private func letters(_ member: ClusterMetadata.Member) -> String {
        let state: String
        switch member.node.state {
        case .normal: state = "N"
        case .joining, .replacing: state = "J"
        case .leaving, .left: state = "L"
        }
        return (cluster.liveness.isAlive(member.node.id) ? "U" : "D") + state
    }

    func status() -> AdminValue {
        let metadata = cluster.metadata.current
        let ring = metadata?.ring ?? Ring.empty
        let shares = ReplicaTable(ring: ring, strategy: .simple(factor: 1)).shares
        let members = (metadata?.members ?? []).map { member -> AdminValue in
            let isHere = member.node.id == node.hostID
            let load =
                isHere
                ? node.storage.sstableBytes
                : cluster.liveness.value(of: .load, at: member.node.endpoint).flatMap { Int($0) }
            return .object([
                ("status", .string(letters(member))), ("address", .string(member.node.endpoint.address)),
                ("load_bytes", load.map { .int($0) } ?? .null),
                ("tokens", .int(ring.claims(heldBy: member.node.id).count)),
                ("owns_percent", .double((ring.index(of: member.node.id).map { shares[$0] } ?? 0) * 100)),
                ("host_id", .string(member.node.id.description)),
                ("data_center", .string(member.node.location.dataCenter)),
                ("rack", .string(member.node.location.rack)), ("native_port", .int(member.nativePort)),
                ("storage_port", .int(member.node.endpoint.port)),
            ])
        }
        let activity = cluster.activity.text
        return .object([
            ("state", .string(node.isDraining ? "draining" : node.services.isServing ? "normal" : "joining")),
            ("cluster", .string(node.configuration.clusterName)),
            ("metadata_epoch", .int(Int(clamping: cluster.metadata.epoch))),
            ("activity", activity.isEmpty ? .null : .string(activity)), ("nodes", .array(members)),
            ("failure", node.storage.failure.map { .string($0) } ?? .null),
        ])
    }

    /// Returns every token with its owner and, given a keyspace, the replicas of the range that ends at the token. With
    /// `simulate`, compares token strategies instead.
    func ring(_ arguments: [String: String]) throws -> AdminValue {
        if arguments["simulate"] != nil { return try simulateRing(arguments) }
        guard let metadata = cluster.metadata.current else {
            throw AdminError(status: 409, message: "this node has not joined its cluster yet")
        }
        let ring = metadata.ring
        var table: ReplicaTable?
        if let name = arguments["keyspace"] {
            guard let keyspace = node.queries.schema.keyspace(name) else {
                throw AdminError(status: 404, message: "no keyspace is named \(name)")
            }
            table = ReplicaTable(
                ring: ring,
                strategy: try ReplicationStrategy(options: keyspace.replication, dataCenters: ring.dataCenters),
                local: node.hostID)
        }
        return .array(
            ring.tokens.indices.map { position in
                let token = ring.tokens[position]
                let owner = ring.nodes[Int(ring.owners[position])]
                var fields: [(String, AdminValue)] = [
                    ("token", .string("\(token)")), ("address", .string(owner.endpoint.address)),
                    ("host_id", .string(owner.id.description)),
                    ("rack", .string(owner.location.rack)), ("data_center", .string(owner.location.dataCenter)),
                ]
                if let table {
                    func addresses(_ nodes: ArraySlice<Int32>) -> AdminValue {
                        .string(nodes.map { ring.nodes[Int($0)].endpoint.address }.joined(separator: " "))
                    }
                    fields.append(("replicas", addresses(table.replicas(for: token))))
                    fields.append(("pending", addresses(table.pendingReplicas(for: token))))
                }
                return .object(fields)
            })
    }

    private func simulateRing(_ arguments: [String: String]) throws -> AdminValue {
        func number(_ name: String, _ standard: Int, _ range: ClosedRange<Int>) throws -> Int {
            guard let text = arguments[name] else { return standard }
            guard let value = Int(text), range.contains(value) else {
                throw AdminError(
                    status: 400, message: "\(name) is a number from \(range.lowerBound) to \(range.upperBound)")
            }
            return value
        }
        let nodes = try number("nodes", 6, 1...200)
        let racks = try number("racks", 1, 1...50)
        let tokens = try number("num_tokens", 16, 1...1024)
        guard let grid = TokenGrid(count: try number("partitions", 256, 1...TokenGrid.countLimit)) else {
            throw AdminError(status: 400, message: "partitions must be a power of two")
        }
        let rows: [RingSimulationRow]
        do {
            rows = try RingSimulation.compare(
                [
                    .random(tokensPerNode: tokens), .randomOverPartitions(grid, tokensPerNode: tokens),
                    .equalPartitions(grid),
                ], nodes: nodes,
                racks: racks, seed: UInt64(try number("seed", 1, 0...Int.max)))
        } catch let error as TokenError { throw AdminError(status: 400, message: error.description) }
        return .array(
            rows.map { row in
                .object([
                    ("strategy", .string(row.strategy.description)), ("nodes", .int(row.nodes)),
                    ("racks", .int(row.racks)),
                    ("replication_factor", .int(row.replicationFactor)), ("change", .string(row.change.rawValue)),
                    ("skew_before", .double(row.skewBefore)), ("skew_after", .double(row.skewAfter)),
                    ("moved_percent", .double(row.moved * 100)), ("least_percent", .double(row.leastMoved * 100)),
                ])
            })
    }

    func gossipInfo() -> AdminValue {
        let now = node.services.time.monotonicMicroseconds()
        return .array(
            cluster.liveness.gossiper.withLock { gossiper in
                guard let gossiper else { return [] }
                return (gossiper.endpoints + [gossiper.configuration.endpoint]).sorted().map { endpoint in
                    let state = gossiper.state(of: endpoint)
                    var fields: [(String, AdminValue)] = [
                        ("endpoint", .string(endpoint.description)), ("alive", .bool(gossiper.isAlive(endpoint))),
                        ("generation", .int(Int(state?.heartBeat.generation ?? 0))),
                        ("heart_beat", .int(Int(state?.heartBeat.version ?? 0))),
                    ]
                    for value in state?.values ?? [] { fields.append(("\(value.key)", .string(value.text))) }
                    fields.append(
                        ("detector", gossiper.explain(endpoint, now: now).map { .string($0.description) } ?? .null))
                    return .object(fields)
                }
            })
    }

    func failureDetector() -> AdminValue {
        let now = node.services.time.monotonicMicroseconds()
        return .array(
            cluster.liveness.gossiper.withLock { gossiper in
                guard let gossiper else { return [] }
                return gossiper.endpoints.compactMap { endpoint in
                    guard let why = gossiper.explain(endpoint, now: now) else { return nil }
                    return .object([
                        ("endpoint", .string(endpoint.description)), ("alive", .bool(gossiper.isAlive(endpoint))),
                        ("phi", .double(why.phi)),
                        ("threshold", .double(why.threshold)), ("convicted", .bool(why.convicted)),
                        ("silence_ms", .int(Int(why.silence / 1000))),
                        ("mean_interval_ms", .double(why.meanInterval / 1000)),
                        ("last_interval_ms", .int(Int(why.lastInterval / 1000))), ("samples", .int(why.samples)),
                        ("paused_locally", .bool(why.pausedLocally)),
                    ])
                }
            })
    }

    func hints() -> AdminValue {
        .array(
            cluster.hints.store.targets().map { target in
                .object([
                    ("host_id", .string(target.id.description)),
                    ("address", (cluster.metadata.endpoint(of: target.id)?.address).map { .string($0) } ?? .null),
                    ("bytes", .int(target.bytes)),
                    ("oldest_seconds", .int(Int(target.oldest))),
                    ("needs_repair", .bool(cluster.hints.store.needsRepair(target.id))),
                ])
            })
    }

    func decommission() throws -> AdminValue {
        do throws(ServerError) { try cluster.leaving.decommission() } catch {
            throw AdminError(status: 409, message: error.message)
        }
        node.drain()
        return .object([("decommissioned", .string(node.hostID.description))])
    }

    /// Repairs the ranges of this node; `preview` only reports what would be sent.
    func repair(_ arguments: [String: String]) throws -> AdminValue {
        var request = RepairRequest(keyspace: arguments["keyspace"], table: arguments["table"])
        request.isPreview = arguments["preview"] != nil
        request.isFresh = arguments["fresh"] != nil
        request.isEverywhere = arguments["everywhere"] != nil
        if arguments["after"] != nil || arguments["through"] != nil {
            guard let after = arguments["after"].flatMap({ Int64($0) }),
                let through = arguments["through"].flatMap({ Int64($0) })
            else {
                throw AdminError(status: 400, message: "a token range needs both after=TOKEN and through=TOKEN")
            }
            request.tokens = TokenRange(after: after, through: through)
        }
        let reports: [(keyspace: String, report: RepairReport)]
        do throws(ServerError) { reports = try cluster.repair.run(request) } catch {
            throw AdminError(status: 409, message: error.message)
        }
        let schema = node.queries.schema
        return .array(
            reports.map { keyspace, report in
                .object([
                    ("keyspace", .string(keyspace)), ("preview", .bool(report.isPreview)),
                    ("complete", .bool(report.isComplete)),
                    ("ranges", .int(report.ranges)), ("done", .int(report.done)), ("differing", .int(report.differing)),
                    ("failed", .int(report.failed)), ("rows_compared", .int(report.rowsCompared)),
                    ("bytes_compared", .int(report.bytesCompared)),
                    (report.isPreview ? "rows_to_send" : "rows_sent", .int(report.sent.rows)),
                    (report.isPreview ? "bytes_to_send" : "bytes_sent", .int(report.sent.bytes)),
                    (
                        "failures",
                        .array(
                            report.failures.prefix(20).map {
                                .string(
                                    "\(schema.tables[$0.table]?.qualifiedName ?? $0.table.description), tokens \($0.tokens), node \($0.node): \($0.reason)"
                                )
                            })
                    ),
                ])
            })
    }

    func removeNode(_ arguments: [String: String]) throws -> AdminValue {
        guard let text = arguments["host_id"] ?? arguments["keyspace"], let id = UUID(text) else {
            throw AdminError(
                status: 400, message: "removenode needs the host id of a dead member; admin status shows them")
        }
        do throws(ServerError) { try cluster.leaving.remove(id) } catch {
            throw AdminError(status: 409, message: error.message)
        }
        return .object([("removed", .string(id.description))])
    }
}
