import Query
import Storage

/// The node's metrics in the Prometheus text format 0.0.4.
struct Metrics {
    let node: NodeServer

    func render() -> String {
        var text = ""
        func metric(_ name: String, _ type: String, _ help: String, _ value: Int) {
            text += "# HELP auspex_\(name) \(help)\n# TYPE auspex_\(name) \(type)\nauspex_\(name) \(value)\n"
        }
        let services = node.services
        let cache = node.storage.cache.counts()
        let compactions = node.storage.compactions()
        let tables = node.storage.allTables
        metric(
            "connections", "gauge", "Open client connections.", services.counters.connections.load(ordering: .relaxed))
        metric(
            "connections_total", "counter", "Client connections accepted.",
            services.counters.connectionsAccepted.load(ordering: .relaxed))
        metric(
            "connections_refused_total", "counter", "Client connections beyond the limit.",
            services.counters.connectionsRefused.load(ordering: .relaxed))
        metric(
            "protocol_errors_total", "counter", "Connections closed over malformed frames.",
            services.counters.protocolErrors.load(ordering: .relaxed))
        metric(
            "encryption_failures_total", "counter", "Client connections not encrypted as required.",
            services.counters.encryptionFailures.load(ordering: .relaxed))
        metric("requests_total", "counter", "Requests received.", services.runner.requests.sum)
        metric(
            "request_memory_bytes", "gauge", "Bytes of requests that wait and of answers that have not been sent.",
            services.runner.admission.bytesInUse)
        metric(
            "requests_waiting", "gauge", "Requests that wait for a disk, other nodes or a lock.",
            services.runner.admission.waiting)
        metric(
            "requests_failed_total", "counter", "Requests answered with an error.",
            services.runner.failures.sum)
        metric("memtable_bytes", "gauge", "Bytes held by memtables.", node.storage.memtableBytes)
        metric("cache_bytes", "gauge", "Bytes of blocks in the cache.", cache.bytes)
        metric("cache_hits_total", "counter", "Blocks found in the cache.", cache.hits)
        metric("cache_misses_total", "counter", "Blocks not found in the cache.", cache.misses)
        metric("commitlog_bytes", "gauge", "Bytes of commit-log segments.", node.storage.log?.totalBytes ?? 0)
        metric(
            "commitlog_writes_total", "counter", "Writes to the commit log.",
            node.storage.log?.writeCount.load(ordering: .relaxed) ?? 0)
        metric(
            "commitlog_syncs_total", "counter", "Syncs of the commit log.",
            node.storage.log?.syncCount.load(ordering: .relaxed) ?? 0)
        metric("sstables", "gauge", "Open sstables.", tables.reduce(0) { $0 + $1.tables.count })
        metric(
            "sstable_bytes", "gauge", "Bytes of sstables.",
            tables.reduce(0) { $0 + $1.tables.reduce(0) { $0 + $1.fileBytes } })
        metric(
            "flushes_total", "counter", "Memtables flushed.",
            tables.reduce(0) { $0 + $1.flushCount.load(ordering: .relaxed) })
        metric("compactions_total", "counter", "Compactions completed.", compactions.completed)
        metric("compactions_running", "gauge", "Compactions under way.", compactions.running.count)
        metric("compaction_read_bytes_total", "counter", "Bytes compactions read.", compactions.bytesRead)
        metric("compaction_written_bytes_total", "counter", "Bytes compactions wrote.", compactions.bytesWritten)
        metric("prepared_statements", "gauge", "Prepared statements kept.", node.queries.preparedCounts.kept)
        renderCluster(metric)
        metric("resident_bytes", "gauge", "Bytes of the process in physical memory.", ProcessMemory.residentBytes())
        return text
    }

    private func renderCluster(_ metric: (_ name: String, _ type: String, _ help: String, _ value: Int) -> Void) {
        let cluster = node.cluster
        let alive = cluster.views.current?.isAlive ?? []
        metric("members", "gauge", "Members of the cluster.", alive.count)
        metric("members_alive", "gauge", "Members that this node considers alive.", alive.count { $0 })
        metric("metadata_epoch", "gauge", "Version of members and schema.", Int(clamping: cluster.metadata.epoch))
        metric(
            "peer_requests_total", "counter", "Requests of other nodes executed.",
            cluster.policy.counters.requestsExecuted.sum)
        metric(
            "peer_requests_sent_total", "counter", "Requests sent to other nodes.",
            cluster.policy.counters.requestsSent.sum)
        metric(
            "peer_bytes_sent_total", "counter", "Bytes of requests sent to other nodes.",
            cluster.policy.counters.bytesSent.sum)
        metric(
            "peer_requests_stale_total", "counter",
            "Requests refused because the coordinator had an older view of the members.",
            cluster.policy.counters.staleRequests.load(ordering: .relaxed))
        metric(
            "coordinator_steps_begun_anew_total", "counter", "Request steps started again because the members changed.",
            cluster.policy.counters.stepsRestarted.load(ordering: .relaxed))
        metric(
            "peer_connections_refused_total", "counter", "Connections of other nodes refused.",
            cluster.policy.counters.connectionsRefused.load(ordering: .relaxed))
        let hints = cluster.hints.store.counters
        metric("hints_kept_total", "counter", "Hints stored for other nodes.", hints.kept)
        metric("hints_replayed_total", "counter", "Hints delivered to their nodes.", hints.replayed)
        metric("hints_refused_total", "counter", "Hints not stored because a size limit was reached.", hints.refused)
        metric("hints_bytes", "gauge", "Bytes of hints not yet delivered.", cluster.hints.store.storedBytes)
        let batches = cluster.batches
        metric(
            "batchlog_stored_total", "counter", "Logged batches stored for their coordinators.", batches.batchLog.stored
        )
        metric(
            "batchlog_replayed_total", "counter", "Logged batches applied from the batchlog.",
            batches.replayed.load(ordering: .relaxed))
        metric(
            "batchlog_expired_total", "counter", "Logged batches too old to be applied.",
            batches.expired.load(ordering: .relaxed))
        metric(
            "batchlog_pending", "gauge", "Logged batches the last look could not apply.",
            batches.pending.load(ordering: .relaxed))
    }
}
