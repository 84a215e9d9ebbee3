import Primitives

extension GossipMessage {
    /// Decodes exactly one message from untrusted bytes.
    ///
    /// Memory use is bounded by the bytes present, not by the counts they claim.
    /// - Throws: `GossipError` when the bytes are not exactly one message within `GossipLimits`.
    public init(decoding bytes: UnsafeRawBufferPointer) throws(GossipError) {
        guard bytes.count <= GossipLimits.messageBytes else {
            throw .tooLarge(what: "bytes", limit: GossipLimits.messageBytes, found: bytes.count)
        }
        var decoder = GossipDecoder(reader: ByteReader(bytes))
        self = try decoder.message()
        guard decoder.reader.isAtEnd else { throw .malformed(what: "end of message", offset: decoder.reader.offset) }
    }

    public init(decoding bytes: [UInt8]) throws(GossipError) {
        self = try bytes.withUnsafeBytesTyped { (raw) throws(GossipError) -> GossipMessage in
            try GossipMessage(decoding: raw)
        }
    }
}

/// Reads the parts of a message and checks each against its limit.
private struct GossipDecoder {
    var reader: ByteReader

    mutating func message() throws(GossipError) -> GossipMessage {
        let version = try byte()
        guard version == GossipMessage.formatVersion else { throw .unsupportedVersion(version) }
        guard let kind = GossipMessage.Kind(rawValue: try byte()) else {
            throw .malformed(what: "kind of message", offset: 1)
        }
        switch kind {
        case .syn: return .syn(clusterName: try name(), partitioner: try name(), digests: try digests())
        case .ack: return .ack(wanted: try digests(), states: try entries())
        case .ack2: return .ack2(states: try entries())
        case .shadowSyn: return .shadowSyn(clusterName: try name(), partitioner: try name())
        case .refused: return .refused(clusterName: try name(), partitioner: try name())
        }
    }

    private mutating func byte() throws(GossipError) -> UInt8 {
        do { return try reader.readU8() } catch { throw .bytes(error) }
    }

    private mutating func count(_ what: String, limit: Int) throws(GossipError) -> Int {
        let found: Int
        do { found = try reader.readCount() } catch { throw .bytes(error) }
        guard found <= limit else { throw .tooLarge(what: what, limit: limit, found: found) }
        return found
    }

    private mutating func bytes(_ what: String, limit: Int) throws(GossipError) -> [UInt8] {
        let length = try count(what, limit: limit)
        do { return try reader.readArray(length) } catch { throw .bytes(error) }
    }

    /// Reads a generation or a version, which is never negative.
    private mutating func number(_ what: String) throws(GossipError) -> Int64 {
        let offset = reader.offset
        let found: UInt64
        do { found = try reader.readVarint() } catch { throw .bytes(error) }
        guard found <= UInt64(Int64.max) else { throw .malformed(what: what, offset: offset) }
        return Int64(found)
    }

    private mutating func name() throws(GossipError) -> String {
        let offset = reader.offset
        guard let text = String(validating: try bytes("bytes of a name", limit: GossipLimits.nameBytes), as: UTF8.self)
        else {
            throw .malformed(what: "name", offset: offset)
        }
        return text
    }

    private mutating func endpoint() throws(GossipError) -> Endpoint {
        let offset = reader.offset
        let address = try bytes("bytes of an address", limit: GossipLimits.addressBytes)
        guard Endpoint.isPlausible(address: address) else { throw .malformed(what: "address", offset: offset) }
        let port: UInt16
        do { port = try reader.readBE() } catch { throw .bytes(error) }
        return Endpoint(address: String(decoding: address, as: UTF8.self), port: Int(port))
    }

    private mutating func digests() throws(GossipError) -> [GossipDigest] {
        var result: [GossipDigest] = []
        for _ in 0..<(try count("digests", limit: GossipLimits.endpoints)) {
            result.append(
                GossipDigest(
                    endpoint: try endpoint(), generation: try number("generation"), maxVersion: try number("version")))
        }
        return result
    }

    private mutating func entries() throws(GossipError) -> [GossipEntry] {
        var result: [GossipEntry] = []
        for _ in 0..<(try count("endpoints", limit: GossipLimits.endpoints)) {
            let endpoint = try endpoint()
            var state = GossipState(
                heartBeat: HeartBeat(generation: try number("generation"), version: try number("version")))
            for _ in 0..<(try count("values", limit: GossipLimits.valuesPerEndpoint)) {
                let key = GossipKey(rawValue: try byte())
                let version = try number("version")
                let bytes = try bytes("bytes of a value", limit: GossipLimits.valueBytes)
                if let key { state.set(GossipValue(key: key, version: version, bytes: bytes)) }
            }
            result.append(GossipEntry(endpoint: endpoint, state: state))
        }
        return result
    }
}
