import Glibc

/// A line on standard error.
func diagnostic(_ text: String) {
    var line = text + "\n"
    line.withUTF8 { bytes in
        var written = 0
        while written < bytes.count {
            let count = write(2, bytes.baseAddress.map { $0 + written }, bytes.count - written)
            if count <= 0 { return }
            written += count
        }
    }
}
