import Cluster
import DataModel
import Messages
import NativeProtocol
import Primitives
import Query
import Storage

/// What follows when a version of the metadata comes into force: schema, tables, views, hints, clients and other nodes.
///
/// **Thread safety**: called in the order of versions, with the lock of `MetadataStore` held.
final class VersionEffects: Sendable {
    private let local: LocalNode
    private let queries: QueryEngine
    private let storage: StorageEngine
    private let systemPeers: SystemPeers
    private let views: ClusterViews
    private let events: EventHub
    private let hints: HintHandoff
    private let gossip: GossipDriver
    private let log: OperatorLog

    init(
        local: LocalNode, queries: QueryEngine, storage: StorageEngine, systemPeers: SystemPeers, views: ClusterViews,
        events: EventHub, hints: HintHandoff, gossip: GossipDriver, log: OperatorLog
    ) {
        self.local = local
        self.queries = queries
        self.storage = storage
        self.systemPeers = systemPeers
        self.views = views
        self.events = events
        self.hints = hints
        self.gossip = gossip
        self.log = log
    }

    /// What `MetadataStore` is to call. It holds this object weakly: the store belongs to the same node.
    /// - Parameter tables: makes storage for new tables.
    func effects(making tables: TableStorage) -> MetadataStore.Effects {
        let schemas = DecodedSchemas()
        @Sendable func difference(_ before: ClusterMetadata?, _ next: ClusterMetadata) throws -> (
            schema: Schema, difference: SchemaDifference
        ) {
            let old = try before.map { try schemas.schema(of: $0) } ?? Schema()
            let schema = try schemas.schema(of: next)
            return (schema, SchemaDifference(from: old, to: schema))
        }
        return MetadataStore.Effects(
            prepare: { before, next in try tables.create(try difference(before, next).difference.created) },
            refused: { before, next in
                // When the schema cannot be read, no table was made for it.
                do { tables.takeBack(try difference(before, next).difference.created) } catch { return }
            },
            took: { [weak self] before, next in
                do {
                    let (schema, changes) = try difference(before, next)
                    self?.apply(before, next, schema, changes)
                } catch {
                    self?.log.report(
                        "the schema in version \(next.epoch) of the metadata cannot be read: \(error)", level: .error)
                }
            })
    }

    private func apply(
        _ before: ClusterMetadata?, _ next: ClusterMetadata, _ schema: Schema, _ difference: SchemaDifference
    ) {
        local.setHasLeft(next.member(local.hostID).map { $0.node.state == .left } ?? true)
        systemPeers.update(next, schema)
        if !difference.isEmpty { queries.install(schema, difference) }
        for table in difference.altered { storage.table(table.id)?.options = TableStoreOptions(table.options) }
        views.refresh(queries.schema)
        for table in difference.dropped {
            do { try storage.dropTable(table.id) } catch {
                storage.report("files of the dropped table \(table.qualifiedName) cannot be removed: \(error)")
            }
        }
        for change in difference.changes { events.announce(.schema(change)) }
        announceMembers(before, next)
        gossip.announceVersion(of: schema)
    }

    private func announceMembers(_ before: ClusterMetadata?, _ next: ClusterMetadata) {
        guard let before else { return }
        for member in next.members where member.node.id != local.hostID && member.node.state.owns {
            let old = before.member(member.node.id)
            guard let client = member.clientEndpoint else { continue }
            if old?.node.state.owns != true {
                events.announce(.topology(.newNode, client))
                events.announce(.status(.up, client))
            } else if old?.node.endpoint != member.node.endpoint {
                events.announce(.topology(.movedNode, client))
            }
        }
        for member in before.members where next.member(member.node.id) == nil {
            if let client = member.clientEndpoint, member.node.state != .joining {
                events.announce(.topology(.removedNode, client))
            }
            // Its hints go to the nodes that own its ranges now.
            hints.sendSoon(to: member.node.id)
            views.forgetLatencies(of: member.node.id)
        }
    }
}

extension ClusterMetadata.Member {
    /// Where clients reach the member; nil when its address is no IP address.
    var clientEndpoint: ServerEvent.Endpoint? {
        InternetAddress.parse(node.endpoint.address).map {
            ServerEvent.Endpoint(address: $0, port: Int32(truncatingIfNeeded: nativePort))
        }
    }
}
