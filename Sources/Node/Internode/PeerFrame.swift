import Compression
import Messages
import Platform
import Primitives

/// The frames of the internode protocol, version 2. `Node.docc/InternodeProtocol.md` has the grammar.
///
///     frame   := length(4) checksum(8) payload          little-endian; the checksum is xxh3 of the payload
///     payload := kind(1) flags(1) body                  flag 1: the body is the uncompressed length(4) and LZ4 data
enum PeerFrame {
    static let version: UInt8 = 2
    static let headBytes = 12
    /// Longer payloads are neither sent nor accepted.
    static let largestPayload = 128 << 20
    /// The longest payload of a hello: a name, an address and two ids.
    static let largestHello = 4 << 10
    /// Bodies from this size on are compressed, where compression is on.
    static let compressedFrom = 4 << 10

    /// Part of the protocol; do not change.
    enum Kind: UInt8 {
        /// The first frame from the connecting node.
        case hello = 1
        /// The reply to an accepted hello.
        case welcome = 2
        /// The reply to a rejected hello, with the reason; the connection then ends.
        case refusal = 3
        case request = 4
        case reply = 5
    }

    private static let compressedFlag: UInt8 = 1

    /// Appends a frame.
    /// - Parameters:
    ///   - compressor: nil: the body is not compressed.
    ///   - body: appends the body.
    /// - Returns: false when the payload is too long; then nothing is appended.
    @discardableResult static func write(
        _ kind: Kind, compressor: BlockCompressor? = nil, into out: inout ByteWriter, _ body: (inout ByteWriter) -> Void
    ) -> Bool {
        let start = out.count
        out.writeZeros(headBytes)
        out.write(kind.rawValue)
        out.write(0)
        body(&out)
        let bodyStart = start + headBytes + 2
        let bodyCount = out.count - bodyStart
        guard bodyCount + 2 <= largestPayload else {
            out.truncate(to: start)
            return false
        }
        if let compressor, bodyCount >= compressedFrom { compress(compressor, bodyStart, bodyCount, &out) }
        let payload = UnsafeRawBufferPointer(rebasing: out.bytes[(start + headBytes)...])
        let checksum = Checksum.xxh3(payload)
        out.patchLE(UInt32(payload.count), at: start)
        out.patchLE(checksum, at: start + 4)
        return true
    }

    private static func compress(
        _ compressor: BlockCompressor, _ bodyStart: Int, _ bodyCount: Int, _ out: inout ByteWriter
    ) {
        var packed = ByteWriter(capacity: bodyCount)
        do throws(CompressionError) {
            try compressor.compress(UnsafeRawBufferPointer(rebasing: out.bytes[bodyStart...]), into: &packed)
        } catch { return }  // it is sent uncompressed
        guard packed.count + 4 < bodyCount else { return }
        out.truncate(to: bodyStart - 1)
        out.write(compressedFlag)
        out.writeLE(UInt32(bodyCount))
        out.write(packed.bytes)
    }

    /// Throws if the input begins with TLS, which this node does not accept here. As a frame, its first bytes would
    /// mean a length of many megabytes.
    static func checkOpening(_ input: UnsafeRawBufferPointer) throws(PeerError) {
        guard input.count >= 2, input[0] == FirstByte.tls, input[1] == 3 else { return }
        throw .refused(
            "it speaks TLS, and this node takes only plain connections; give this node certificates and optional: true in server_encryption_options first"
        )
    }

    /// The result of parsing the front of the input.
    enum Found {
        case needMore
        /// `body` points into the input; the frame takes `count` bytes.
        case frame(Kind, body: UnsafeRawBufferPointer, count: Int)
        /// The same, with an uncompressed copy of the body.
        case unpacked(Kind, body: [UInt8], count: Int)
    }

    /// The frame at the front of `input`.
    /// - Parameter largest: longer payloads are refused at their header.
    static func next(_ input: UnsafeRawBufferPointer, atMost largest: Int = largestPayload) throws(PeerError) -> Found {
        guard input.count >= headBytes else { return .needMore }
        let length = Int(UInt32(littleEndian: input.loadUnaligned(as: UInt32.self)))
        guard length >= 2, length <= largest else {
            throw .malformed("a frame of \(length) bytes; is the other end a node of this version?")
        }
        guard input.count >= headBytes + length else { return .needMore }
        let payload = UnsafeRawBufferPointer(rebasing: input[headBytes..<headBytes + length])
        guard Checksum.xxh3(payload) == UInt64(littleEndian: input.loadUnaligned(fromByteOffset: 4, as: UInt64.self))
        else {
            throw .malformed("a frame of \(length) bytes does not match its checksum")
        }
        guard let kind = Kind(rawValue: payload[0]) else { throw .malformed("a frame of kind \(payload[0])") }
        let body = UnsafeRawBufferPointer(rebasing: payload[2...])
        guard payload[1] & compressedFlag != 0 else { return .frame(kind, body: body, count: headBytes + length) }
        guard body.count >= 4 else { throw .malformed("a compressed frame of \(length) bytes") }
        let count = Int(UInt32(littleEndian: body.loadUnaligned(as: UInt32.self)))
        guard count <= largest else { throw .malformed("a frame that holds \(count) bytes") }
        var unpacked = ByteWriter(capacity: count)
        do throws(CompressionError) {
            try BlockDecompressor.decompress(
                UnsafeRawBufferPointer(rebasing: body[4...]), codec: .lz4, decompressedCount: count, into: &unpacked)
        } catch { throw .malformed("a compressed frame: \(error)") }
        return .unpacked(kind, body: unpacked.toArray(), count: headBytes + length)
    }
}

/// The reason why an internode connection ends.
enum PeerError: Error, CustomStringConvertible {
    /// The input is not a valid frame or message.
    case malformed(String)
    /// The other end rejects this node, or is not the intended node.
    case refused(String)
    /// The connection is not encrypted as required.
    case encryption(String)

    var description: String {
        switch self {
        case .encryption(let why): "no TLS connection: \(why)"
        case .malformed(let what): what
        case .refused(let why): why
        }
    }
}

/// The first message on a connection: the connecting node and the node it expects.
struct PeerHello: Equatable {
    var clusterName: String
    var hostID: UUID
    /// The address at which the connecting node accepts connections.
    var endpoint: Endpoint
    /// The expected node; nil if any node is acceptable.
    var wanted: UUID?

    private static let magic: [UInt8] = Array("AXIN".utf8)
    private static let nobody = UUID(high: 0, low: 0)

    func encode(into out: inout ByteWriter) {
        out.write(PeerHello.magic)
        out.write(PeerFrame.version)
        out.writeLengthPrefixed(clusterName)
        out.write(hostID)
        out.writeLengthPrefixed(endpoint.address)
        out.writeVarint(endpoint.port)
        out.write(wanted ?? PeerHello.nobody)
    }

    init(clusterName: String, hostID: UUID, endpoint: Endpoint, wanted: UUID?) {
        self.clusterName = clusterName
        self.hostID = hostID
        self.endpoint = endpoint
        self.wanted = wanted
    }

    init(from reader: inout ByteReader) throws(PeerError) {
        let version: UInt8
        do throws(ByteError) {
            guard try reader.readArray(PeerHello.magic.count) == PeerHello.magic else {
                throw .malformedVarint(offset: 0)
            }
            version = try reader.readU8()
        } catch { throw .malformed("the first frame is not a hello of the internode protocol") }
        guard version == PeerFrame.version else {
            throw .refused(
                "this node speaks version \(PeerFrame.version) of the internode protocol, the other \(version); run one release on all nodes"
            )
        }
        do throws(ByteError) {
            clusterName = try reader.readLengthPrefixedText()
            hostID = try reader.readUUID()
            let address = try reader.readLengthPrefixedText()
            let port = try reader.readCount()
            guard Endpoint.isPlausible(address: address.utf8), port <= 65_535 else {
                throw .malformedVarint(offset: reader.offset)
            }
            endpoint = Endpoint(address: address, port: port)
            let id = try reader.readUUID()
            wanted = id == PeerHello.nobody ? nil : id
        } catch { throw .malformed("a hello does not parse: \(error)") }
    }
}
