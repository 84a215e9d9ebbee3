/// This node's location, parsed from text like Cassandra's `cassandra-rackdc.properties`.
///
///     # comment
///     dc=dc1
///     rack=rack1
///     prefer_local=true       accepted for compatibility, no effect: a node has one address
///     dc_suffix=_1            accepted for compatibility, no effect: only Cassandra's cloud snitches use it
public struct RackProperties: Hashable, Sendable {
    public let location: Location

    /// - Throws: `SnitchError` with the number of the first invalid line; with line 0 when `dc` or `rack` is missing.
    public init(parsing text: String) throws(SnitchError) {
        var values: [String: String] = [:]
        for (index, raw) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
            let line = PropertyFileSnitch.trim(raw)
            guard let first = line.first, first != "#", first != "!" else { continue }
            guard let equals = line.firstIndex(where: { $0 == "=" || $0 == ":" }) else {
                throw SnitchError(line: index + 1, reason: "expected key=value")
            }
            let key = String(PropertyFileSnitch.trim(line[..<equals]))
            let value = String(PropertyFileSnitch.trim(line[line.index(after: equals)...]))
            guard RackProperties.known.contains(key) else {
                throw SnitchError(
                    line: index + 1,
                    reason: "'\(key)' is unknown; \(RackProperties.known.joined(separator: ", ")) are known")
            }
            guard !value.isEmpty || key == "dc_suffix" else {
                throw SnitchError(line: index + 1, reason: "\(key) has no value")
            }
            guard values.updateValue(value, forKey: key) == nil else {
                throw SnitchError(line: index + 1, reason: "\(key) is given twice")
            }
        }
        guard let dataCenter = values["dc"], let rack = values["rack"] else {
            throw SnitchError(
                line: 0, reason: "\(values["dc"] == nil ? "dc" : "rack") is missing; expected dc=NAME and rack=NAME")
        }
        location = Location(dataCenter: dataCenter, rack: rack)
    }

    private static let known = ["dc", "rack", "prefer_local", "dc_suffix"]
}
