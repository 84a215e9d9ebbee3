import Cluster
import DataModel
import Logging
import Messages
import Platform
import Primitives
import Synchronization

/// Keeps the cluster's metadata on the disk, and the node's part in choosing its versions.
///
/// 1. Whatever a reply rests on is in the file `metadata`, synced, before the reply is given.
/// 2. While the first version is being taken there is a file `metadata.first`: a start that finds it without `metadata` finds tables that never held anything.
/// 3. Versions take effect one after another, in their order: storage is made ready (`prepare`), the file is written, then all else learns of it (`took`).
///
/// **Thread safety**: all methods, from any thread; all but `current` and `epoch` wait for the disk.
final class MetadataStore: Sendable {
    /// What the node does when a version comes into force.
    struct Effects: Sendable {
        /// Makes storage for tables that are new.
        /// - Throws: why it cannot; the version is not taken then.
        var prepare: @Sendable (_ before: ClusterMetadata?, _ next: ClusterMetadata) throws -> Void = { _, _ in }
        /// After `prepare`, when the version cannot be kept.
        var refused: @Sendable (_ before: ClusterMetadata?, _ next: ClusterMetadata) -> Void = { _, _ in }
        /// The version is in the file.
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
    /// The first version of which this node knows that it has the present members.
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
    /// Whoever knows only versions below this one goes by other members.
    var ringEpoch: UInt64 { membersSince.load(ordering: .relaxed) }

    func onChange(_ effects: Effects) { self.effects.withLock { $0 = effects } }

    /// Reads the file, when there is one.
    /// - Throws: `schema` when it cannot be read, or is missing beside tables: an empty one would forget them, and what the log has of them.
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

    /// From now on tables without `metadata` are a loss.
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

    /// Takes the first version that this node knows: of a cluster it founds, or has been let into.
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

    /// Answers what a node asks about the metadata.
    /// - Throws: when the answer cannot be kept; then it must not be given.
    func handle(_ request: MetadataRequest) throws -> MetadataReply {
        try held.withLock { held in
            guard var acceptor = held else { return .behind(epoch: 0) }
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

    /// Takes a version that was chosen, when it is newer.
    func install(_ value: [UInt8]) throws { _ = try handle(.chosen(epoch: 0, value: value)) }

    /// Makes a change where this node alone decides.
    /// - Returns: false when others vote as well; nothing was done.
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

    /// After a change was refused: the file may have been replaced all the same, when only its directory could not be synced. A start that found there what
    /// was refused would lack a table that goes on being written, and remove its files.
    private func repair(_ held: MetadataAcceptor?) {
        guard let held else { return }
        do throws(FileError) {
            if try system.readAll(path) != held.encode() { try write(held) }
        } catch {
            log.error("\(path) may hold a change that was refused; change the schema again to write it: \(error)")
        }
    }
}
