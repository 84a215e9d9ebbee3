import Messages

extension PeerReply {
    /// The reply of a replica whose commit log could not make the request's writes safe.
    static func logFailed(_ why: String) -> PeerReply { .failed(.storage, "the commit log failed: \(why)") }
}
