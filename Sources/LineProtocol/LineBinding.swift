import DataModel

/// The values of `\execute`: a JSON array, one element a marker.
public enum LineBinding {
    /// Binds the elements of `json` to `markers`, in order.
    /// - Parameter json: what followed the name; nil: no values.
    public static func values(_ json: String?, markers: [ColumnSpec]) throws(ServerError) -> ValueList {
        let elements = try json.map(elements) ?? []
        guard elements.count == markers.count else {
            throw .invalid("the statement has \(markers.count) markers, \\execute gave \(elements.count) values")
        }
        var values = ValueList()
        for (element, marker) in zip(elements, markers) {
            do throws(ValueError) {
                if let bytes = try marker.type.bytes(fromJSON: element) { values.append(bytes) } else { values.appendNull() }
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
            throw .invalid("the values of \\execute are a JSON array, such as [1, \"a\", null]")
        }
        return elements
    }
}
