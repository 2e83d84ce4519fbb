import CCurl

/// What libcurl's results mean. Source: libcurl-errors(3).
enum CurlFailure {
    /// What libcurl said besides the result.
    struct End {
        /// Its own sentence, from CURLOPT_ERRORBUFFER.
        var text: String
        /// The proxy's answer to CONNECT; 0 when there was none.
        var proxyStatus: Int
    }

    static func meaning(
        of result: CURLcode,
        _ end: End,
        wasConnected: Bool,
        hasHead: Bool
    ) -> (HTTPFailure.Code, String) {
        if end.proxyStatus >= 300 {
            return (.connect, "the proxy refused the connection with status \(end.proxyStatus)")
        }
        let code = code(of: result, wasConnected: wasConnected, hasHead: hasHead)
        return (code, sentence(code, result, end.text))
    }

    private static func code(of result: CURLcode, wasConnected: Bool, hasHead: Bool) -> HTTPFailure.Code {
        switch result {
        case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY: .resolve
        case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_CRL_BADFILE, CURLE_SSL_ISSUER_ERROR,
            CURLE_SSL_INVALIDCERTSTATUS, CURLE_SSL_PINNEDPUBKEYNOTMATCH, CURLE_SSL_CERTPROBLEM, CURLE_SSL_CIPHER,
            CURLE_SSL_ENGINE_NOTFOUND, CURLE_SSL_ENGINE_SETFAILED:
            .tls
        // A handshake that broke off may be a lost connection; a bad certificate has its own result above.
        case CURLE_COULDNT_CONNECT, CURLE_PROXY, CURLE_SSL_CONNECT_ERROR, CURLE_OPERATION_TIMEDOUT,
            CURLE_INTERFACE_FAILED, CURLE_FAILED_INIT, CURLE_NO_CONNECTION_AVAILABLE:
            .connect
        case CURLE_PARTIAL_FILE: hasHead ? .bodyTooShort : .connectionLost
        case CURLE_RECV_ERROR, CURLE_SEND_ERROR, CURLE_GOT_NOTHING, CURLE_SEND_FAIL_REWIND, CURLE_HTTP2,
            CURLE_HTTP2_STREAM, CURLE_AGAIN:
            wasConnected ? .connectionLost : .connect
        case CURLE_URL_MALFORMAT, CURLE_BAD_FUNCTION_ARGUMENT, CURLE_UNKNOWN_OPTION, CURLE_NOT_BUILT_IN:
            .invalidRequest
        // libcurl's word for HTTP/0.9 as for a scheme it may not use, which was refused before.
        case CURLE_UNSUPPORTED_PROTOCOL: wasConnected ? .protocolViolation : .invalidRequest
        default: .protocolViolation
        }
    }

    private static func sentence(_ code: HTTPFailure.Code, _ result: CURLcode, _ text: String) -> String {
        let what =
            switch code {
            case .resolve: "the host's name cannot be resolved"
            case .tls: "the server's certificate is not to be trusted"
            case .connect: "no connection"
            case .connectionLost: "the connection was lost"
            case .bodyTooShort: "the connection ended in the middle of the body"
            case .invalidRequest: "the URL cannot be used"
            default: "the reply is not HTTP"
            }
        let named = "libcurl \(result.rawValue), \(String(cString: curl_easy_strerror(result)))"
        // A text about the URL might repeat it.
        return code == .invalidRequest || text.isEmpty ? "\(what) (\(named))" : "\(what) (\(named): \(text))"
    }

    /// libcurl's sentence as it may be shown: one line, bounded.
    static func shown(_ text: [CChar]) -> String {
        let bytes = text.prefix { $0 != 0 }.prefix(200).map { UInt8(bitPattern: $0) }
        return String(decoding: bytes.map { (0x20...0x7E).contains($0) ? $0 : 0x3F }, as: UTF8.self)
    }
}
