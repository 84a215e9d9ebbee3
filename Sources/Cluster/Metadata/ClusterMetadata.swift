import Messages
import Primitives

/// What all nodes agree on: the members, the tokens they own, and the schema.
///
/// Every change makes a new version with the next `epoch`. The members of one version choose the next by Paxos, so all
/// nodes see the same versions in the same order.
///
///     metadata := "AXMD" format(1) epoch strategy count change(8)* count member* count former* schema
///     former   := host id (16) claims
///     member   := host id (16) address port native-port data-center rack claims state
///
/// A count precedes every text and byte string; numbers are varints. The page "MetadataFormat" has the details.
public struct ClusterMetadata: Sendable, Equatable {
    public struct Member: Sendable, Hashable {
        public var node: RingNode
        /// The port for clients; the address is that of `node.endpoint`.
        public var nativePort: Int

        public init(node: RingNode, nativePort: Int) {
            self.node = node
            self.nativePort = nativePort
        }
    }

    /// The version number, counted from 1; 0 before the first version.
    public var epoch: UInt64
    public var strategy: TokenStrategy
    /// Sorted by host id.
    public var members: [Member]
    /// The owners before the last change of the ring, until all nodes know that the change has finished; then empty.
    /// Writes still go to these owners, so that every quorum of the previous owners shares a node with every quorum of
    /// the current ones.
    public var former: [UUID: [TokenClaim]] = [:]
    /// The encoded schema of the user keyspaces.
    public var schema: [UInt8]
    /// Numbers of the last changes, the newest at the end. A node uses them to recognize its own change when another
    /// node completed it.
    public private(set) var recentChanges: [UInt64] = []

    /// The greatest length of `recentChanges`.
    static let changesRemembered = 64
    /// The greatest epoch and number of tokens of metadata from outside.
    static let largestEpoch: UInt64 = 1 << 62
    static let largestClaimCount = 1 << 21

    /// Adds a change to `recentChanges`.
    public mutating func note(change: UInt64) {
        recentChanges.append(change)
        if recentChanges.count > ClusterMetadata.changesRemembered { recentChanges.removeFirst() }
    }

    public init(epoch: UInt64 = 0, strategy: TokenStrategy = .standard, members: [Member] = [], schema: [UInt8] = []) {
        self.epoch = epoch
        self.strategy = strategy
        self.members = members.sorted { $0.node.id < $1.node.id }
        self.schema = schema
    }

    public var ring: Ring { Ring(nodes: members.map(\.node), partitions: strategy.ringPartitions) }

    /// The ring of the previous owners that are still members; nil when all nodes know the current one.
    public var previousRing: Ring? {
        if former.isEmpty { return nil }
        let nodes = members.map { member in
            var node = member.node
            node.claims = former[node.id] ?? []
            node.state = node.claims.isEmpty ? .joining : .normal
            return node
        }
        return Ring(nodes: nodes, partitions: strategy.ringPartitions)
    }

    public func member(_ id: UUID) -> Member? { members.first { $0.node.id == id } }

    /// Host ids of the members that vote on the next version: those that own tokens.
    public var voters: [UUID] { members.filter(\.node.state.owns).map(\.node.id) }

    /// Adds a member or replaces the one with its host id.
    public mutating func set(_ member: Member) {
        members.removeAll { $0.node.id == member.node.id }
        members.append(member)
        members.sort { $0.node.id < $1.node.id }
    }

    public mutating func remove(_ id: UUID) { members.removeAll { $0.node.id == id } }

    // MARK: Encoding

    /// Part of the file format and of the internode protocol; do not change.
    static let magic: [UInt8] = Array("AXMD".utf8) + [1]

    public func encode() -> [UInt8] {
        var out = ByteWriter(capacity: 1024 + schema.count)
        out.write(ClusterMetadata.magic)
        out.writeVarint(epoch)
        switch strategy {
        case .random(let tokens):
            out.write(1)
            out.writeVarint(tokens)
        case .randomOverPartitions(let grid, let tokens):
            out.write(2)
            out.writeVarint(grid.count)
            out.writeVarint(tokens)
        case .equalPartitions(let grid):
            out.write(3)
            out.writeVarint(grid.count)
        }
        out.writeVarint(recentChanges.count)
        for change in recentChanges { out.writeLE(change) }
        out.writeVarint(members.count)
        for member in members { member.encode(into: &out) }
        out.writeVarint(former.count)
        for (id, claims) in former.sorted(by: { $0.key < $1.key }) {
            out.write(id)
            out.writeLengthPrefixed(TokenClaim.encode(claims))
        }
        out.writeLengthPrefixed(schema)
        return out.toArray()
    }

    /// Decodes metadata; returns nil when the bytes are invalid.
    public static func readable(_ bytes: [UInt8]) -> ClusterMetadata? {
        do throws(ByteError) { return try ClusterMetadata(decoding: bytes) } catch { return nil }
    }

    public init(decoding bytes: [UInt8]) throws(ByteError) {
        self = try bytes.withReader { (reader) throws(ByteError) in
            guard try reader.readArray(ClusterMetadata.magic.count) == ClusterMetadata.magic else {
                throw .malformedVarint(offset: 0)
            }
            let epoch = try reader.readVarint()
            // Greater versions follow it.
            guard epoch <= ClusterMetadata.largestEpoch else {
                throw .unexpected(offset: ClusterMetadata.magic.count, expected: "an epoch")
            }
            let strategy: TokenStrategy
            let kind = try reader.readU8()
            func grid(_ reader: inout ByteReader) throws(ByteError) -> TokenGrid {
                let offset = reader.offset
                guard let grid = TokenGrid(count: try reader.readCount()) else {
                    throw .malformedVarint(offset: offset)
                }
                return grid
            }
            func tokensPerNode(_ reader: inout ByteReader) throws(ByteError) -> Int {
                let offset = reader.offset
                let count = try reader.readCount()
                guard count <= TokenStrategy.tokensPerNodeLimit else { throw .malformedVarint(offset: offset) }
                return count
            }
            switch kind {
            case 1: strategy = .random(tokensPerNode: try tokensPerNode(&reader))
            case 2: strategy = .randomOverPartitions(try grid(&reader), tokensPerNode: try tokensPerNode(&reader))
            case 3: strategy = .equalPartitions(try grid(&reader))
            default: throw .malformedVarint(offset: reader.offset - 1)
            }
            let changes = try reader.readCount()
            guard changes <= ClusterMetadata.changesRemembered else { throw .malformedVarint(offset: reader.offset) }
            var recent: [UInt64] = []
            for _ in 0..<changes { recent.append(try reader.readLE()) }
            let count = try reader.readCount()
            guard count <= 10_000 else { throw .malformedVarint(offset: reader.offset) }
            var members: [Member] = []
            var claims = 0
            for _ in 0..<count {
                let start = reader.offset
                let member = try Member(from: &reader)
                claims += member.node.claims.count
                // Nodes are referred to by their index in this order.
                guard members.last.map({ $0.node.id < member.node.id }) ?? true else {
                    throw .unexpected(offset: start, expected: "members in the order of their host ids")
                }
                guard claims <= ClusterMetadata.largestClaimCount else {
                    throw .unexpected(offset: start, expected: "at most \(ClusterMetadata.largestClaimCount) tokens")
                }
                members.append(member)
            }
            var former: [UUID: [TokenClaim]] = [:]
            let formerCount = try reader.readCount()
            guard formerCount <= 10_000 else { throw .malformedVarint(offset: reader.offset) }
            for _ in 0..<formerCount {
                let id = try reader.readUUID()
                guard let claims = TokenClaim.decode(try reader.readLengthPrefixed()) else {
                    throw .malformedVarint(offset: reader.offset)
                }
                former[id] = claims
            }
            let schema = try reader.readLengthPrefixed()
            guard reader.isAtEnd else { throw .malformedVarint(offset: reader.offset) }
            var metadata = ClusterMetadata(epoch: epoch, strategy: strategy, members: members, schema: schema)
            metadata.recentChanges = recent
            metadata.former = former
            return metadata
        }
    }
}

extension ClusterMetadata.Member {
    public func encode(into out: inout ByteWriter) {
        out.write(node.id)
        out.writeLengthPrefixed(node.endpoint.address)
        out.writeVarint(node.endpoint.port)
        out.writeVarint(nativePort)
        out.writeLengthPrefixed(node.location.dataCenter)
        out.writeLengthPrefixed(node.location.rack)
        out.writeLengthPrefixed(TokenClaim.encode(node.claims))
        switch node.state {
        case .joining: out.write(1)
        case .normal: out.write(2)
        case .leaving(let heirs):
            out.write(3)
            out.writeLengthPrefixed(TokenSuccessor.encode(heirs))
        case .left: out.write(4)
        case .replacing(let other):
            out.write(6)
            out.write(other)
        }
    }

    public init(from reader: inout ByteReader) throws(ByteError) {
        let host = try reader.readUUID()
        let address = try reader.readLengthPrefixedText()
        let port = try reader.readCount()
        let native = try reader.readCount()
        guard Endpoint.isPlausible(address: address.utf8), port <= 65_535, native <= 65_535 else {
            throw .malformedVarint(offset: reader.offset)
        }
        let location = Location(
            dataCenter: try reader.readLengthPrefixedText(), rack: try reader.readLengthPrefixedText())
        let offset = reader.offset
        guard let claims = TokenClaim.decode(try reader.readLengthPrefixed()) else {
            throw .malformedVarint(offset: offset)
        }
        let state: NodeState
        switch try reader.readU8() {
        case 1: state = .joining
        case 2: state = .normal
        case 3:
            guard let heirs = TokenSuccessor.decode(try reader.readLengthPrefixed()) else {
                throw .malformedVarint(offset: reader.offset)
            }
            state = .leaving(heirs: heirs)
        case 4: state = .left
        // 5 is reserved: earlier releases defined it, and no release wrote it.
        case 6: state = .replacing(try reader.readUUID())
        default: throw .malformedVarint(offset: reader.offset - 1)
        }
        self.init(
            node: RingNode(
                id: host, endpoint: Endpoint(address: address, port: port), location: location, claims: claims,
                state: state),
            nativePort: native)
    }
}
