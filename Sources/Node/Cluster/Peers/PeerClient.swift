import Cluster
import Messages
import Platform
import Primitives

/// Asks other nodes and waits for their answers; for background threads.
struct PeerClient: Sendable {
    let drivers: [LoopDriver]
    let network: any Network
    let background: any Background

    /// Asks a node and waits for its answer.
    /// - Parameters:
    ///   - wanted: the host id of the node that must be there; nil: whichever is.
    ///   - timeout: microseconds.
    func ask(_ request: PeerRequest, at endpoint: Endpoint, wanted: UUID?, timeout: Int64) -> PeerReply {
        askAll(request, at: [(endpoint, wanted)], timeout: timeout)[0]
    }

    /// Asks nodes the same at once and waits for all their answers, which come in the order of the nodes.
    /// - Parameter timeout: microseconds.
    func askAll(
        _ request: PeerRequest, at nodes: [(endpoint: Endpoint, wanted: UUID?)], timeout: Int64
    ) -> [PeerReply] {
        if nodes.isEmpty { return [] }
        let replies = Gathering<(node: Int, reply: PeerReply)>(count: nodes.count)
        let driver = drivers[0]
        network.onLoop(0) {
            for (index, node) in nodes.enumerated() {
                driver.ask(request, at: node.endpoint, wanted: node.wanted, timeout: timeout) { reply in
                    replies.add((index, reply))
                }
            }
        }
        return replies.wait(on: background).sorted { $0.node < $1.node }.map(\.reply)
    }

    /// Whether requests to replicas have no reply yet.
    func hasRequestsUnderWay() -> Bool {
        drivers.contains { driver in
            let count = Promise<Int>()
            network.onLoop(driver.loop) { count.fulfil(driver.coordinator.outstandingCount) }
            return count.wait(on: background) > 0
        }
    }
}
