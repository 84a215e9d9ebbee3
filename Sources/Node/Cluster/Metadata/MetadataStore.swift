import Cluster
import DataModel
import Logging
import Messages
import Platform
import Primitives
import Synchronization

/// Keeps the cluster's metadata on the disk, with what this node has promised and accepted while versions are chosen.
///
/// 1. Everything that a reply depends on is in the file `metadata`, synced, before the reply is sent.
/// 2. The file `metadata.first` exists while the first version is installed. A start that finds it without `metadata`
///    knows that the tables on the disk never held anything.
/// 3. Versions take effect one after another, in their order: storage is prepared (`prepare`), the file is written,
///    then the rest of the node is told (`took`).
///
/// **Thread safety**: all methods, from any thread; all but `current`, `epoch` and `ringEpoch` wait for the disk.
final class MetadataStore: Sendable {
    /// What the node does when a version comes into force.
    struct Effects: Sendable {
        /// Makes storage for new tables.
        /// - Throws: why it cannot; the version is not installed then.
        var prepare: @Sendable (_ before: ClusterMetadata?, _ next: ClusterMetadata) throws -> Void = { _, _ in }
        /// Undoes `prepare`: the version could not be written.
        var refused: @Sendable (_ before: ClusterMetadata?, _ next: ClusterMetadata) -> Void = { _, _ in }
        /// Applies the version, which is in the file.
        var took: @Sendable (_ before: ClusterMetadata?, _ next: ClusterMetadata) -> Void = { _, _ in }
    }

    static let fileName = "metadata"
    static let firstFileName = "metadata.first"

    private let system: any FileSystem
    private let directory: String
    private let log: Logger
    private let held = Mutex<MetadataAcceptor?>(nil)
    private let known = Mutex<ClusterMetadata?>(nil)
    private let effects = Mutex(Effects())
    private let knownEpoch = Atomic<UInt64>(0)
    /// The first version known here that has the present members.
    private let membersSince = Atomic<UInt64>(0)

    init(system: any FileSystem, directory: String, log: Logger) {
        self.system = system
        self.directory = directory
        self.log = log
    }

    private var path: String { directory + "/" + MetadataStore.fileName }
    private var firstPath: String { directory + "/" + MetadataStore.firstFileName }

    /// The newest version known; nil before the node belongs to a cluster.
    var current: ClusterMetadata? { known.withLock { $0 } }
    var epoch: UInt64 { knownEpoch.load(ordering: .relaxed) }
    /// Nodes that know only versions below this one know other members.
    var ringEpoch: UInt64 { membersSince.load(ordering: .relaxed) }

    /// Sets what is called when a version comes into force.
    func onChange(_ effects: Effects) { self.effects.withLock { $0 = effects } }

    /// Reads the file, when there is one.
    /// - Throws: `schema` when it cannot be read, or is missing although there are tables: with an empty schema the
    ///   node would remove them, and ignore their records in the commit log.
    func open() throws(NodeError) {
        guard system.exists(path) else {
            if system.exists(firstPath) { return }
            let data = directory + "/data"
            let tables: [String]
            do { tables = system.exists(data) ? try system.list(data).filter { $0 != "system" } : [] } catch {
                throw .file(error)
            }
            if let name = tables.first {
                throw .schema(
                    "\(path) is missing, though there are tables in \(data)/\(name); restore it from a copy that names all of them: "
                        + "the files of those it does not name are removed")
            }
            return
        }
        let acceptor: MetadataAcceptor
        do {
            acceptor = try MetadataAcceptor(decoding: try system.readAll(path))
            _ = try MetadataStore.schema(of: acceptor.current)
        } catch { throw .schema("\(path) cannot be read: \(error); restore it from a copy") }
        held.withLock { $0 = acceptor }
        remember(acceptor.current)
        endFirst()
    }

    /// Removes `metadata.first`: tables without `metadata` are a loss from now on.
    private func endFirst() {
        guard system.exists(firstPath) else { return }
        do throws(FileError) {
            try system.remove(firstPath)
            try system.syncDirectory(directory)
        } catch { log.error("\(error); remove that file") }
    }

    static func schema(of metadata: ClusterMetadata) throws(SchemaDecodingError) -> Schema {
        metadata.schema.isEmpty ? Schema() : try Schema(decoding: metadata.schema)
    }

    /// Whether a version and its schema can be read.
    private static func isUsable(_ value: [UInt8]) -> Bool {
        guard let metadata = ClusterMetadata.readable(value) else { return false }
        do throws(SchemaDecodingError) { _ = try schema(of: metadata) } catch { return false }
        return true
    }

    private func remember(_ metadata: ClusterMetadata) {
        let before = known.withLock { known in
            defer { known = metadata }
            return known
        }
        if before?.members != metadata.members { membersSince.store(metadata.epoch, ordering: .relaxed) }
        knownEpoch.store(metadata.epoch, ordering: .relaxed)
    }

    private func write(_ acceptor: MetadataAcceptor) throws(FileError) {
        try system.replace(path, with: acceptor.encode(), directory: directory)
    }

    /// Installs the first version this node knows: that of a cluster it founds or has been let into.
    func begin(_ metadata: ClusterMetadata) throws {
        try held.withLock { held in
            if let known = held, known.current.epoch >= metadata.epoch { return }
            try take(MetadataAcceptor(current: metadata), into: &held)
        }
    }

    private func take(_ next: MetadataAcceptor, into held: inout MetadataAcceptor?) throws {
        let before = held?.current
        let effects = effects.withLock { $0 }
        if held == nil, !next.current.schema.isEmpty { try system.replace(firstPath, with: [], directory: directory) }
        try effects.prepare(before, next.current)
        do throws(FileError) { try write(next) } catch {
            repair(held)
            effects.refused(before, next.current)
            throw error
        }
        if held == nil { endFirst() }
        held = next
        remember(next.current)
        effects.took(before, next.current)
    }

    /// Answers a request about the metadata.
    /// - Throws: when what the answer promises cannot be written; then it must not be sent.
    func handle(_ request: MetadataRequest) throws -> MetadataReply {
        try held.withLock { held in
            guard var acceptor = held else { return .behind(epoch: 0) }
            // A version with a schema that nobody can read could never be installed.
            if case .accept(_, _, let value) = request, !MetadataStore.isUsable(value) {
                return .refused(promised: acceptor.promised)
            }
            let before = acceptor.current.epoch
            let (reply, hasChanged) = acceptor.handle(request)
            guard hasChanged else { return reply }
            if acceptor.current.epoch > before {
                try take(acceptor, into: &held)
            } else {
                try write(acceptor)
                held = acceptor
            }
            return reply
        }
    }

    /// Installs a version that was chosen, when it is newer than the one known.
    func install(_ value: [UInt8]) throws { _ = try handle(.chosen(epoch: 0, value: value)) }

    /// Makes a change when this node is the only voter.
    /// - Returns: false when others vote too; nothing was done then.
    func changeAlone(_ voter: UUID, _ step: (ClusterMetadata) throws(ServerError) -> ClusterMetadata?)
        throws(ServerError) -> Bool
    {
        let outcome: Result<Bool, ServerError> = held.withLock { held in
            guard var acceptor = held, acceptor.current.voters == [voter] else { return .success(false) }
            do throws(ServerError) {
                guard var next = try step(acceptor.current) else { return .success(true) }
                next.epoch = acceptor.current.epoch + 1
                guard acceptor.install(next.encode()) else {
                    throw ServerError(.serverError, "the metadata could not be changed")
                }
            } catch { return .failure(error) }
            do { try take(acceptor, into: &held) } catch {
                return .failure(ServerError(.serverError, "the schema could not be stored and is unchanged: \(error)"))
            }
            return .success(true)
        }
        return try outcome.get()
    }

    /// Writes the file anew after a change was refused.
    ///
    /// The file may have been replaced all the same, when only the sync of its directory failed. If the change dropped
    /// a table, the next start would remove the files of a table that is still in use.
    private func repair(_ held: MetadataAcceptor?) {
        guard let held else { return }
        do throws(FileError) {
            if try system.readAll(path) != held.encode() { try write(held) }
        } catch {
            log.error("\(path) may hold a change that was refused; any change of the schema writes it anew: \(error)")
        }
    }
}
