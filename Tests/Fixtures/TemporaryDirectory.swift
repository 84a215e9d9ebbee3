import Glibc

/// Runs `body` with a new directory, and removes the directory with what is in it.
package func withTemporaryDirectory<R>(_ body: (_ path: String) throws -> R) rethrows -> R {
    var template = Array("/tmp/auspex-test-XXXXXX".utf8CString)
    precondition(mkdtemp(&template) != nil, "no directory can be created in /tmp")
    let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    // A leftover in /tmp is harmless.
    defer { _ = system("rm -rf '\(path)'") }
    return try body(path)
}
