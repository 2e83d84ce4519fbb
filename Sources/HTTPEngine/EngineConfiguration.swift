import Glibc
import LinuxPlatform

/// What an engine is made with. The environment is read once, when the value is made.
package struct EngineConfiguration: Sendable {
    /// Threads, each with connections of its own. One is full with 1.2 GB/s that a mount reads over plain HTTP, replies to
    /// the kernel included; a quarter of the processors, at most eight, leaves the rest to readers, and where there are few
    /// a second one only takes from them.
    package var threads: Int
    /// Connections to one host and port, of all threads together. Requests past it wait their turn.
    package var maximumConnectionsPerHost: Int
    /// Connections to all hosts, of all threads together.
    package var maximumConnections: Int
    /// Sent where the request names no `User-Agent` of its own.
    package var userAgent: String
    /// A PEM file of the authorities to trust instead of the distribution's.
    package var certificateFile: String?
    /// A directory of hashed PEM files of authorities (c_rehash(1)) instead of the distribution's.
    package var certificateDirectory: String?
    package var proxies: ProxySettings
    /// How long a resolved name is believed.
    package var nameCache: Duration
    /// An idle connection older than this is closed instead of being used again: servers forget them silently.
    package var idleConnectionAge: Duration
    /// Bytes read from a socket at once, per running request: 16 KiB to 512 KiB.
    package var receiveBufferBytes: Int
    /// Bytes of an upload handed to a socket at once, per running upload: 16 KiB to 2 MiB. What fits the processor's
    /// second-level cache costs a quarter less than the largest.
    package var uploadBufferBytes: Int
    /// Downloads that are plain enough are received straight into the caller's memory (`DirectTransfers`); without it
    /// libcurl carries all of them.
    package var receivesInPlace: Bool

    /// Defaults, with `SSL_CERT_FILE`, `SSL_CERT_DIR` and the proxies of the environment.
    package init(environment: (String) -> String? = processEnvironment) {
        threads = max(1, min(8, Host.processors / 4))
        maximumConnectionsPerHost = 64
        maximumConnections = 256
        userAgent = "penstock"
        certificateFile = environment("SSL_CERT_FILE").flatMap { $0.isEmpty ? nil : $0 }
        certificateDirectory = environment("SSL_CERT_DIR").flatMap { $0.isEmpty ? nil : $0 }
        proxies = ProxySettings(environment: environment)
        nameCache = .seconds(60)
        idleConnectionAge = .seconds(100)
        receiveBufferBytes = 512 << 10
        uploadBufferBytes = 256 << 10
        receivesInPlace = true
    }
}

/// Which proxy carries what. Values are URLs as curl(1) takes them; they may hold a password: never log them.
package struct ProxySettings: Sendable {
    /// For http URLs.
    package var http: String?
    /// For https URLs, by CONNECT.
    package var https: String?
    /// Hosts that are reached directly: names, suffixes and networks parted by commas, or `*`.
    package var exceptions: String

    package init(http: String? = nil, https: String? = nil, exceptions: String = "") {
        self.http = http
        self.https = https
        self.exceptions = exceptions
    }

    /// The proxy for URLs of a scheme.
    func of(_ scheme: String) -> String? { scheme == "https" ? https : http }

    /// `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, in lower case first.
    ///
    /// `HTTP_PROXY` is not looked at, as in curl: a CGI server sets it from a request header (CVE-2016-5385).
    package init(environment: (String) -> String?) {
        func first(_ names: String...) -> String? {
            names.lazy.compactMap(environment).first { !$0.isEmpty }
        }
        http = first("http_proxy", "all_proxy", "ALL_PROXY")
        https = first("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
        exceptions = first("no_proxy", "NO_PROXY") ?? ""
    }
}

/// A variable of this process's environment.
package func processEnvironment(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
