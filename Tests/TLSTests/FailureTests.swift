import Testing

@testable import TLS

@Suite struct FailureTests {
    static let shown = TLSFailure.Shown(
        description: "<NIOSSLCertificate;serial_number=1f;common_name=node2;alternative_names=10.0.0.2,node2.example>",
        validFrom: 1000,
        validUntil: 2000)

    @Test(arguments: [
        (
            "handshakeFailed(sslError([Error: 1 error:1000007d:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED at x:1]))",
            1500,
            "(node2, 10.0.0.2,node2.example) is not of an authority"
        ),
        ("CERTIFICATE_VERIFY_FAILED", 2001, "has expired"),
        ("CERTIFICATE_VERIFY_FAILED", 999, "not valid yet"),
        (
            "SSL routines:OPENSSL_internal:TLSV1_ALERT_UNKNOWN_CA", 1500,
            "does not know the authority of this end's certificate"
        ),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", 1500, "this end's certificate has expired"),
        ("TLSV1_ALERT_CERTIFICATE_REQUIRED", 1500, "wants a certificate"),
        ("PEER_DID_NOT_RETURN_A_CERTIFICATE", 1500, "showed no certificate"),
        ("WRONG_VERSION_NUMBER", 1500, "does not speak TLS"),
        (
            "NIOSSLExtraError.failedToValidateHostname: Couldn't find <none> in certificate from peer", 1500,
            "is not valid for the name"
        ),
        ("something new", 1500, "TLS failed: something new"),
    ])
    func handshakeErrorsSayWhatToDo(error: String, now: Int, expected: String) {
        #expect(TLSFailure.text(error, shown: Self.shown, now: now).contains(expected))
    }

    @Test func invalidFilesAreRefused() {
        var options = TLSOptions()
        options.authorities = "/nonexistent/authority.pem"
        #if TLS
            #expect(
                throws: TLSError.file(
                    "/nonexistent/authority.pem", reason: "it cannot be read: No such file or directory")
            ) {
                try TLSContext(options)
            }
            options.authorities = #filePath
            #expect(
                throws: TLSError.file(#filePath, reason: "it holds no certificate in PEM (-----BEGIN CERTIFICATE-----)")
            ) {
                try TLSContext(options)
            }
        #else
            #expect(throws: TLSError.notBuilt) { try TLSContext(options) }
        #endif
    }

    #if TLS
        /// A TLS session whose peer answers in plaintext reports that.
        @Test func plainAnswerIsReported() throws {
            var options = TLSOptions()
            options.verification = .none
            let session = try TLSSession(TLSContext(options), host: "127.0.0.1")
            var hello: [UInt8] = []
            session.takeOutput { hello = Array($0) }
            #expect(hello.first == 0x16)
            #expect(!session.isEstablished)
            try session.receive(UnsafeRawBufferPointer(start: nil, count: 0))
            #expect(!session.hasOutput)
            let answer = Array("! 000A Protocol: this is plain\n".utf8)
            #expect(
                throws: TLSError.connection("the other end does not speak TLS here; encryption must be on at both ends")
            ) {
                try answer.withUnsafeBytes { try session.receive($0) }
            }
        }
    #endif
}
