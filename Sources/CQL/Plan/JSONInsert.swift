import DataModel

/// The JSON document of `INSERT ... JSON`.
enum JSONInsert {
    /// Returns the members by column name. Names in quotes inside the JSON string keep their case; others are folded to
    /// lower case.
    /// - Throws: when the text is not a JSON object, or a member is not a column.
    static func members(_ text: [UInt8], of table: TableMetadata) throws(ValueError) -> [String: JSONValue] {
        let document: JSONValue
        do throws(ValueError) { document = try JSONValue(parsing: text) } catch {
            throw .invalid("Could not decode JSON string as a map: \(error.message). (String was: \(shown(text)))")
        }
        guard case .object(let entries) = document else {
            throw .invalid("Could not decode JSON string as a map: it is not an object. (String was: \(shown(text)))")
        }
        var members: [String: JSONValue] = [:]
        for (name, value) in entries {
            let column = columnName(name)
            guard table.column(named: column) != nil else {
                throw .invalid("JSON values map contains unrecognized column: \(column)")
            }
            members[column] = value
        }
        return members
    }

    private static func shown(_ text: [UInt8]) -> String {
        text.count > 500
            ? String(decoding: text.prefix(500), as: UTF8.self) + "..." : String(decoding: text, as: UTF8.self)
    }

    private static func columnName(_ name: String) -> String {
        if name.utf8.count >= 2, name.hasPrefix("\""), name.hasSuffix("\"") {
            return String(name.dropFirst().dropLast()).replacing("\"\"", with: "\"")
        }
        return name.lowercased()
    }

    static func bytes(_ value: JSONValue, column: String, _ type: CQLType) throws(ValueError) -> [UInt8]? {
        do throws(ValueError) { return try type.bytes(fromJSON: value) } catch {
            throw .invalid("Error decoding JSON value for \(column): \(error.message)")
        }
    }
}
