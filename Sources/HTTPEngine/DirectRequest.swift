import LinuxPlatform

/// The bytes of a request that a loop sends by itself, on a connection that libcurl made.
///
/// Only what is plain: GET without a body, to a server that no proxy stands before. Everything else is libcurl's.
/// Sources: RFC 9112, sections 2, 3 and 5; RFC 9110, section 7.2 (Host).
struct DirectRequest: Equatable {
    let origin: WebOrigin
    let bytes: [UInt8]

    /// Nil when the request is not that plain. It has passed `RequestCheck`: nothing in it can begin a line of its own.
    init?(_ request: HTTPRequest, _ configuration: EngineConfiguration) {
        guard request.method == "GET", request.body == nil, let origin = WebOrigin(url: request.url),
            !request.usesProxy || configuration.proxies.of(origin.scheme) == nil,
            let target = Self.target(of: request.url)
        else { return nil }
        self.origin = origin
        var text = "GET \(target) HTTP/1.1\r\n"
        let fields = request.headers
        if fields["host"] == nil { text += "Host: \(origin.authority)\r\n" }
        if fields["user-agent"] == nil { text += "User-Agent: \(configuration.userAgent)\r\n" }
        if fields["accept"] == nil { text += "Accept: */*\r\n" }
        for (name, value) in fields.fields where !name.equalsIgnoringCase("content-length") {
            text += "\(name): \(value)\r\n"
        }
        bytes = Array((text + "\r\n").utf8)
    }

    /// Path and query as they were written; nil with a fragment, which is not the server's to see.
    private static func target(of url: String) -> String? {
        guard let rest = WebOrigin.remainder(of: url), !rest.utf8.contains(UInt8(ascii: "#")) else { return nil }
        return rest.hasPrefix("/") ? rest : "/" + rest
    }
}

extension WebOrigin {
    /// What stands behind the scheme: host and, where it is not the default, port.
    fileprivate var authority: Substring { description.dropFirst(scheme.utf8.count + 3) }
}
