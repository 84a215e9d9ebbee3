import Client
import DataModel

/// Sends a command to a node and returns its answer, as tables for people or as the node's JSON.
public func runAdmin(_ options: AdminOptions) throws(AdminError) -> String {
    let target = HTTPRequest.target("/admin/" + options.command, options.arguments)
    // Commands that change something require POST. On GET the node answers them with 405 and does nothing.
    var (status, body) = try HTTPRequest(method: "GET", target: target).send(
        host: options.host, port: options.port, timeout: options.timeout)
    if status == 405 {
        (status, body) = try HTTPRequest(method: "POST", target: target).send(
            host: options.host, port: options.port, timeout: options.timeout)
    }
    let value: JSONValue
    do throws(ValueError) {
        value = try JSONValue(parsing: body)
    } catch {
        throw .notANode("the answer (status \(status)) is not JSON")
    }
    guard (200..<300).contains(status) else {
        if case .object(let members) = value,
            case .string(let reason) = members.first(where: { $0.name == "error" })?.value
        {
            throw .refused(status: status, reason: reason)
        }
        throw .refused(status: status, reason: "the node answered with status \(status)")
    }
    if options.isJSON {
        let text = String(decoding: body, as: UTF8.self)
        return text.hasSuffix("\n") ? text : text + "\n"
    }
    return ValueTable.text(value)
}
