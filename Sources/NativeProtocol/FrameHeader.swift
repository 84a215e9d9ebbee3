import DataModel
import Primitives

/// Bits of a frame header's flags byte (native_protocol_v5.spec, 2.2).
public enum FrameFlag {
    public static let compressed: UInt8 = 0x01
    public static let tracing: UInt8 = 0x02
    public static let customPayload: UInt8 = 0x04
    public static let warning: UInt8 = 0x08
    public static let beta: UInt8 = 0x10
}

/// The header of a frame, nine bytes.
///
///     header := version-and-direction (1) flags (1) stream (2) opcode (1) body-length (4)
public struct FrameHeader: Sendable, Equatable {
    /// The size of a header, in bytes.
    public static let size = 9

    public var version: ProtocolVersion
    public var isResponse: Bool
    public var flags: UInt8
    public var stream: Int16
    /// The opcode as received; `opcode` is nil when it is unknown.
    public var rawOpcode: UInt8
    /// The length of the body as received, in bytes; compressed if the flag is set.
    public var length: Int

    public var opcode: Opcode? { Opcode(rawValue: rawOpcode) }
    public var wantsTracing: Bool { flags & FrameFlag.tracing != 0 }
}

/// A frame with its decompressed body.
///
/// SAFETY: `body` borrows from the decoder's input or its buffer; it is valid until the next call of the decoder or the
/// next change of the input.
public struct Frame {
    public var header: FrameHeader
    public var body: UnsafeRawBufferPointer
    /// Set when the body exceeded the limit and was skipped; `body` is then empty.
    public var oversize: Oversize?

    /// The length of a body and the limit it exceeds, in bytes.
    public struct Oversize: Sendable, Equatable {
        public var length: Int
        public var limit: Int

        var message: String { "Request is too big: length \(length) exceeds maximum allowed length \(limit)" }
    }

    public init(header: FrameHeader, body: UnsafeRawBufferPointer, oversize: Oversize? = nil) {
        self.header = header
        self.body = body
        self.oversize = oversize
    }

    /// Throws if the body was skipped because of its length.
    func checkSize() throws(ServerError) {
        if let oversize { throw ServerError(.invalid, oversize.message) }
    }
}
