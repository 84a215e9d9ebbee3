/// Translates TLS library errors into messages that say what went wrong and what to do about it.
///
/// The library distinguishes causes only by its error text, which contains BoringSSL's reason in capitals.
enum TLSFailure {
    /// Data of the certificate that the other end presented; times in seconds since 1970.
    struct Shown: Equatable {
        var subject: String
        var validFrom: Int
        var validUntil: Int

        /// - Parameter description: the library's description, which contains names among other data:
        ///   `<...;common_name=NAME;alternative_names=NAME,...>`.
        init(description: String, validFrom: Int, validUntil: Int) {
            self.validFrom = validFrom
            self.validUntil = validUntil
            func value(_ name: String) -> String? {
                description.split(whereSeparator: { ";<>".contains($0) }).first { $0.hasPrefix(name + "=") }
                    .map { String($0.dropFirst(name.utf8.count + 1)) }
            }
            subject = [value("common_name"), value("alternative_names")].compactMap { $0 }.joined(separator: ", ")
        }
    }

    private static let plain = "the other end does not speak TLS here; encryption must be on at both ends"
    private static let notAccepted =
        "the other end does not accept this end's certificate; is it of an authority in the other's truststore, and still valid?"

    /// Reasons in the order of the search: first alerts from the other end, then errors found by this end.
    private static let known: [(reason: String, text: String)] = [
        (
            "ALERT_UNKNOWN_CA",
            "the other end does not know the authority of this end's certificate; both must have the same authorities in their truststore"
        ),
        ("ALERT_CERTIFICATE_EXPIRED", "the other end says that this end's certificate has expired; renew it"),
        ("ALERT_CERTIFICATE_REQUIRED", "the other end wants a certificate, and this end showed none; give it one"),
        ("ALERT_CERTIFICATE_UNKNOWN", notAccepted),
        ("ALERT_BAD_CERTIFICATE", notAccepted),
        ("ALERT_PROTOCOL_VERSION", "the two ends have no version of TLS in common; this end speaks 1.2 and 1.3"),
        (
            "ALERT_HANDSHAKE_FAILURE",
            "the other end refused the handshake: it may require a certificate, or ciphers this end does not have"
        ),
        (
            "PEER_DID_NOT_RETURN_A_CERTIFICATE",
            "the other end showed no certificate, and one is required here; give it one"
        ),
        ("UNSUPPORTED_PROTOCOL", "the other end speaks a version of TLS older than 1.2; renew it"),
        ("NO_SHARED_CIPHER", "the two ends have no cipher in common"),
        ("WRONG_VERSION_NUMBER", plain),
        ("HTTP_REQUEST", plain),
        (
            "failedToValidateHostname",
            "the other end's certificate is not valid for the name or address that was connected to"
        ),
        ("EOF during handshake", "the other end closed the connection during the TLS handshake; its log may say why"),
    ]

    /// Returns the message for an error.
    /// - Parameters:
    ///   - error: the library's text.
    ///   - shown: the other end's certificate, if it presented one.
    ///   - now: seconds since 1970.
    static func text(_ error: String, shown: Shown?, now: Int) -> String {
        if error.contains("CERTIFICATE_VERIFY_FAILED") {
            guard let shown else {
                return "the other end's certificate is not of an authority in this end's truststore, or not valid now"
            }
            if now > shown.validUntil { return "the other end's certificate (\(shown.subject)) has expired; renew it" }
            if now < shown.validFrom {
                return
                    "the other end's certificate (\(shown.subject)) is not valid yet; do the clocks of both machines agree?"
            }
            return
                "the other end's certificate (\(shown.subject)) is not of an authority in this end's truststore; both must have the same authorities"
        }
        for (reason, text) in known where error.contains(reason) { return text }
        return "TLS failed: \(error)"
    }
}
