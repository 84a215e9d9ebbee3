import Messages
import Primitives

/// One change of the cluster's members. A node sends it to a member, which has it chosen as the next version of the
/// metadata.
///
/// A change of the ring begins with `join`, `replace` or `leave`: from then on writes go to the current and the future
/// owners. When the future owners hold the data, `finish` makes them the owners. When enough nodes know that, `settle`
/// ends the writes to the previous owners. Only one change of the ring is under way at a time.
public enum MemberChange: Sendable, Hashable {
    /// A node joins. Its tokens and state are chosen when the change is applied.
    case join(ClusterMetadata.Member)
    /// A node takes over the tokens of a dead one.
    case replace(ClusterMetadata.Member, dead: UUID)
    /// The member leaves, or others remove it because it is dead.
    case leave(UUID)
    /// The member's join, replacement or departure is complete.
    case finish(UUID)
    /// All nodes concerned know that the last change has finished.
    case settle
    /// The member's change is given up: a joining or replacing node is removed, a leaving one stays.
    case abort(UUID)
    /// The member has a new address.
    case move(UUID, Endpoint, nativePort: Int)

    public func encode() -> [UInt8] {
        var out = ByteWriter(capacity: 256)
        switch self {
        case .join(let member):
            out.write(1)
            member.encode(into: &out)
        case .replace(let member, let dead):
            out.write(2)
            member.encode(into: &out)
            out.write(dead)
        case .leave(let id):
            out.write(3)
            out.write(id)
        case .finish(let id):
            out.write(4)
            out.write(id)
        case .abort(let id):
            out.write(5)
            out.write(id)
        case .settle: out.write(7)
        case .move(let id, let endpoint, let nativePort):
            out.write(6)
            out.write(id)
            out.writeLengthPrefixed(endpoint.address)
            out.writeVarint(endpoint.port)
            out.writeVarint(nativePort)
        }
        return out.toArray()
    }

    public init(decoding bytes: [UInt8]) throws(ByteError) {
        self = try bytes.withReader { (reader) throws(ByteError) in
            let change: MemberChange
            switch try reader.readU8() {
            case 1: change = .join(try ClusterMetadata.Member(from: &reader))
            case 2: change = .replace(try ClusterMetadata.Member(from: &reader), dead: try reader.readUUID())
            case 3: change = .leave(try reader.readUUID())
            case 4: change = .finish(try reader.readUUID())
            case 5: change = .abort(try reader.readUUID())
            case 6:
                let id = try reader.readUUID()
                let address = try reader.readLengthPrefixedText()
                let port = try reader.readCount()
                let native = try reader.readCount()
                guard Endpoint.isPlausible(address: address.utf8), port <= 65_535, native <= 65_535 else {
                    throw .malformedVarint(offset: reader.offset)
                }
                change = .move(id, Endpoint(address: address, port: port), nativePort: native)
            case 7: change = .settle
            default: throw .malformedVarint(offset: reader.offset - 1)
            }
            guard reader.isAtEnd else { throw .malformedVarint(offset: reader.offset) }
            return change
        }
    }

    /// Returns the metadata with the change applied, in the same epoch; nil when it is applied already.
    /// - Parameter seed: for the choice of tokens.
    public func apply(to metadata: ClusterMetadata, seed: UInt64) throws(MemberChangeError) -> ClusterMetadata? {
        var next = metadata
        switch self {
        case .join(var member):
            if let known = metadata.member(member.node.id) {
                guard known.node.state != .joining else { return nil }
                throw .isMember(member.node.id)
            }
            try checkRoom(for: member, in: metadata, except: nil)
            var allocator = TokenAllocator(strategy: metadata.strategy, seed: seed)
            do throws(TokenError) {
                member.node.claims = try allocator.tokens(forNodeAt: member.node.location, joining: metadata.ring)
            } catch { throw .tokens(error) }
            member.node.state = .joining
            next.set(member)
        case .replace(var member, let dead):
            if let known = metadata.member(member.node.id) {
                guard known.node.state != .replacing(dead) else { return nil }
                throw .isMember(member.node.id)
            }
            guard let old = metadata.member(dead) else { throw .notAMember(dead) }
            try checkNothingUnderWay(in: metadata)
            guard old.node.state == .normal else { throw .changeUnderWay(dead) }
            try checkRoom(for: member, in: metadata, except: dead)
            member.node.claims = []
            member.node.state = .replacing(dead)
            next.set(member)
        case .leave(let id):
            guard var member = metadata.member(id) else { throw .notAMember(id) }
            if case .leaving = member.node.state { return nil }
            try checkNothingUnderWay(in: metadata)
            guard metadata.voters.count > 1 else { throw .lastMember }
            var allocator = TokenAllocator(strategy: metadata.strategy, seed: seed)
            do throws(TokenError) {
                member.node.state = .leaving(heirs: try allocator.heirs(of: id, leaving: metadata.ring))
            } catch {
                throw .tokens(error)
            }
            next.set(member)
        case .finish(let id):
            guard let member = metadata.member(id), member.node.state != .normal else { return nil }
            let before = metadata.ring
            let ring = before.after { $0.id == id }
            // A replaced node is dead and dropped at once. A leaving node stays a member until `settle`.
            var replaced: UUID?
            if case .replacing(let dead) = member.node.state { replaced = dead }
            next.members = ring.nodes.filter { $0.id != replaced }.compactMap { node in
                metadata.member(node.id).map { ClusterMetadata.Member(node: node, nativePort: $0.nativePort) }
            }
            next.former = [:]
            for node in before.nodes where node.state.owns && node.id != replaced {
                next.former[node.id] = before.claims(heldBy: node.id)
            }
        case .settle:
            if metadata.former.isEmpty { return nil }
            next.former = [:]
            next.members.removeAll { $0.node.state == .left }
        case .abort(let id):
            guard var member = metadata.member(id) else { return nil }
            switch member.node.state {
            case .joining, .replacing: next.remove(id)
            case .leaving:
                member.node.state = .normal
                next.set(member)
            case .normal, .left: return nil
            }
        case .move(let id, let endpoint, let nativePort):
            guard var member = metadata.member(id) else { throw .notAMember(id) }
            if member.node.endpoint == endpoint && member.nativePort == nativePort { return nil }
            if let other = metadata.members.first(where: { $0.node.endpoint == endpoint && $0.node.id != id }) {
                throw .addressTaken(endpoint, by: other.node.id)
            }
            member.node.endpoint = endpoint
            member.nativePort = nativePort
            next.set(member)
        }
        return next
    }

    private func checkRoom(
        for member: ClusterMetadata.Member, in metadata: ClusterMetadata, except dead: UUID?
    ) throws(MemberChangeError) {
        if let other = metadata.members.first(where: { $0.node.endpoint == member.node.endpoint }),
            other.node.id != dead
        {
            throw .addressTaken(member.node.endpoint, by: other.node.id)
        }
        try checkNothingUnderWay(in: metadata)
    }

    private func checkNothingUnderWay(in metadata: ClusterMetadata) throws(MemberChangeError) {
        if let busy = metadata.ring.changing.first { throw .changeUnderWay(busy) }
        if let busy = metadata.former.keys.min() { throw .changeUnderWay(busy) }
    }
}

/// Why a change of the members is not possible, or not now.
public enum MemberChangeError: Error, Hashable, CustomStringConvertible {
    case isMember(UUID)
    case notAMember(UUID)
    case changeUnderWay(UUID)
    case addressTaken(Endpoint, by: UUID)
    case lastMember
    case tokens(TokenError)

    /// Whether the same change may succeed later.
    public var mayRetryLater: Bool {
        switch self {
        case .changeUnderWay, .tokens(.changeUnderWay): true
        default: false
        }
    }

    public var description: String {
        switch self {
        case .isMember(let id): "\(id) is a member of the cluster already"
        case .notAMember(let id): "no member has host id \(id)"
        case .changeUnderWay(let id): "\(id) is joining, leaving or replacing another; wait until it is done"
        case .addressTaken(let endpoint, let id):
            "\(endpoint) is the address of member \(id); if that node is dead, replace it (replace_node: \(id)) or remove it (auspex admin removenode)"
        case .lastMember: "the last member cannot leave; stop it instead"
        case .tokens(let error): error.description
        }
    }
}
