import Messages
import Platform

/// Answers what nodes ask about the metadata: its versions, votes for the next one, and changes to be made for them.
///
/// **Thread safety**: all methods, from any thread.
struct MetadataAnswers: Sendable {
    let metadata: MetadataStore
    let ring: RingChanges
    let network: any Network
    let background: any Background
    let log: OperatorLog

    /// Answers a question; `done` is called on the loop.
    func answer(_ question: MetadataRequest, loop: Int, _ done: @escaping @Sendable (PeerReply) -> Void) {
        let kind: BackgroundKind = if case .change = question { .control } else { .read }
        background.run(kind) { [self] in
            let reply = answer(question)
            network.onLoop(loop) { done(reply) }
        }
    }

    /// Waits for the disk, and for other members when a change is asked for.
    private func answer(_ question: MetadataRequest) -> PeerReply {
        if case .change(let bytes) = question { return ring.make(encoded: bytes) }
        do { return .metadata(try metadata.handle(question)) } catch {
            log.report("the cluster's metadata cannot be written: \(error)", level: .error)
            return .failed(.storage, "\(error)")
        }
    }
}
