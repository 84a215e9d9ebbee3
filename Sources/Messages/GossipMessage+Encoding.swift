import Primitives

extension GossipMessage {
    /// The first byte of every message. Part of the format; do not change.
    public static let formatVersion: UInt8 = 1

    // The second byte of a message. Part of the format; do not change.
    enum Kind: UInt8 { case syn = 1, ack, ack2, shadowSyn, refused }

    /// Appends the encoded message; the page "GossipFormat" has the grammar.
    public func encode(to writer: inout ByteWriter) {
        writer.write(GossipMessage.formatVersion)
        switch self {
        case .syn(let clusterName, let partitioner, let digests):
            writer.write(Kind.syn.rawValue)
            writer.writeText(clusterName)
            writer.writeText(partitioner)
            writer.writeDigests(digests)
        case .ack(let wanted, let states):
            writer.write(Kind.ack.rawValue)
            writer.writeDigests(wanted)
            writer.writeEntries(states)
        case .ack2(let states):
            writer.write(Kind.ack2.rawValue)
            writer.writeEntries(states)
        case .shadowSyn(let clusterName, let partitioner):
            writer.write(Kind.shadowSyn.rawValue)
            writer.writeText(clusterName)
            writer.writeText(partitioner)
        case .refused(let clusterName, let partitioner):
            writer.write(Kind.refused.rawValue)
            writer.writeText(clusterName)
            writer.writeText(partitioner)
        }
    }
}

extension ByteWriter {
    fileprivate mutating func writeText(_ text: String) {
        writeVarint(text.utf8.count)
        write(text)
    }

    fileprivate mutating func writeEndpoint(_ endpoint: Endpoint) {
        writeText(endpoint.address)
        writeBE(UInt16(truncatingIfNeeded: endpoint.port))
    }

    fileprivate mutating func writeDigests(_ digests: [GossipDigest]) {
        writeVarint(digests.count)
        for digest in digests {
            writeEndpoint(digest.endpoint)
            writeVarint(UInt64(bitPattern: digest.generation))
            writeVarint(UInt64(bitPattern: digest.maxVersion))
        }
    }

    fileprivate mutating func writeEntries(_ entries: [GossipEntry]) {
        writeVarint(entries.count)
        for entry in entries {
            writeEndpoint(entry.endpoint)
            writeVarint(UInt64(bitPattern: entry.state.heartBeat.generation))
            writeVarint(UInt64(bitPattern: entry.state.heartBeat.version))
            writeVarint(entry.state.values.count)
            for value in entry.state.values {
                write(value.key.rawValue)
                writeVarint(UInt64(bitPattern: value.version))
                writeVarint(value.bytes.count)
                write(value.bytes)
            }
        }
    }
}
