import Glibc

/// The terminal on which a shell runs.
enum Terminal {
    static var isInteractive: Bool { isatty(0) != 0 && isatty(1) != 0 }

    /// The screen width in columns; 80 when unknown.
    static var width: Int {
        var size = winsize()
        guard ioctl(1, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
        return Int(size.ws_col)
    }

    /// Returns the number of columns that `text` takes.
    static func displayWidth(_ text: String) -> Int {
        if text.utf8.allSatisfy({ $0 < 0x80 }) { return text.utf8.count }
        return text.unicodeScalars.reduce(0) { $0 + width($1) }
    }

    /// Returns 0 for combining marks, and 2 for wide East Asian characters and emoji (Unicode Annex 11).
    private static func width(_ scalar: Unicode.Scalar) -> Int {
        switch scalar.value {
        case 0..<0x300: return 1
        case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0xA4CF, 0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE6F,
            0xFF00...0xFF60,
            0xFFE0...0xFFE6, 0x1F300...0x1F64F, 0x1F680...0x1F6FF, 0x1F900...0x1F9FF, 0x20000...0x3FFFD:
            return 2
        default: break
        }
        switch scalar.properties.generalCategory {
        case .nonspacingMark, .enclosingMark, .format: return 0
        default: return 1
        }
    }

    /// Switches the terminal to raw mode while `body` runs: keys arrive byte by byte and without echo.
    static func raw<R>(_ body: () -> R) -> R {
        var saved = termios()
        guard tcgetattr(0, &saved) == 0 else { return body() }
        var raw = saved
        raw.c_iflag &= ~tcflag_t(BRKINT | ICRNL | INPCK | ISTRIP | IXON)
        raw.c_lflag &= ~tcflag_t(ECHO | ICANON | IEXTEN | ISIG)
        raw.c_cflag |= tcflag_t(CS8)
        tcsetattr(0, TCSADRAIN, &raw)
        defer { tcsetattr(0, TCSADRAIN, &saved) }
        return body()
    }

    /// Whether a byte can be read without waiting.
    static var hasInput: Bool {
        var entry = pollfd(fd: 0, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, 0) > 0
    }

    /// Reads the next byte; nil at the end of the input, or when `milliseconds` have passed (-1: no limit).
    static func readByte(within milliseconds: Int32 = -1) -> UInt8? {
        var entry = pollfd(fd: 0, events: Int16(POLLIN), revents: 0)
        while true {
            let ready = poll(&entry, 1, milliseconds)
            if ready < 0 && errno == EINTR { continue }
            if ready <= 0 { return nil }
            var byte: UInt8 = 0
            let got = read(0, &byte, 1)
            if got < 0 && errno == EINTR { continue }
            return got == 1 ? byte : nil
        }
    }

    static func write(_ text: String, to descriptor: Int32 = 1) { _ = FileText.write(Array(text.utf8), to: descriptor) }
}

extension Terminal {
    /// Reads a line without echo; nil when it is cancelled or the input ends.
    static func askPassword() -> String? {
        write("password: ")
        defer { write("\n") }
        return raw {
            var bytes: [UInt8] = []
            while let byte = readByte() {
                switch byte {
                case 0x0D, 0x0A: return String(decoding: bytes, as: UTF8.self)
                case 0x03, 0x04: return nil
                case 0x7F, 0x08: _ = bytes.popLast()
                default: bytes.append(byte)
                }
            }
            return nil
        }
    }
}
