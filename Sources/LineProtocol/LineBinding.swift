import DataModel

/// The values of `\execute`: a JSON array with one element per bind marker.
public enum LineBinding {
    /// Converts the elements of `json` to the types of `markers`, in order.
    /// - Parameter json: the text after the statement's name; nil when there are no values.
    public static func values(_ json: String?, markers: [ColumnSpec]) throws(ServerError) -> ValueList {
        let elements = try json.map(elements) ?? []
        guard elements.count == markers.count else {
            throw .invalid("the statement has \(markers.count) markers, but \\execute has \(elements.count) values")
        }
        var values = ValueList()
        for (element, marker) in zip(elements, markers) {
            do throws(ValueError) {
                if let bytes = try marker.type.bytes(fromJSON: element) {
                    values.append(bytes)
                } else {
                    values.appendNull()
                }
            } catch {
                throw .invalid("value of \(marker.name): \(error.message)")
            }
        }
        return values
    }

    private static func elements(_ json: String) throws(ServerError) -> [JSONValue] {
        let parsed: JSONValue
        do throws(ValueError) {
            parsed = try JSONValue(parsing: Array(json.utf8))
        } catch {
            throw error.serverError
        }
        guard case .array(let elements) = parsed else {
            throw .invalid("the values of \\execute must be a JSON array, such as [1, \"a\", null]")
        }
        return elements
    }
}
