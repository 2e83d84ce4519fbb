import HTTPEngine

/// A Hub token. Its text appears in no description, so that it can stand in a configuration that is printed.
package struct HubToken: Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible {
    /// The text, for the `Authorization` header and nothing else.
    package let secret: String

    /// Nil when nothing is left after line ends and spaces are stripped, or when it cannot stand in a header.
    package init?(_ text: String) {
        let stripped = trimmed(text)
        guard !stripped.isEmpty, stripped.utf8.count <= 4096, stripped.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
        else {
            return nil
        }
        secret = stripped
    }

    package var description: String { "a token" }
    package var debugDescription: String { description }
}

/// Finds the token as the official client does.
///
/// Source: huggingface_hub 2.4.0, `utils/_auth.py` and `constants.py`: the explicit option, `HF_TOKEN`,
/// `HUGGING_FACE_HUB_TOKEN`, then the file `HF_TOKEN_PATH`, by default `$HF_HOME/token`.
package enum TokenLookup {
    /// - Parameters:
    ///   - explicit: what an option said.
    ///   - environment: the process's variables.
    ///   - readFile: the text of a file, or nil when it is not there.
    /// - Returns: nil when there is none, or when `HF_HUB_DISABLE_IMPLICIT_TOKEN` forbids to look for one.
    package static func token(
        explicit: String?,
        environment: [String: String],
        readFile: (String) -> String?
    ) -> HubToken? {
        if let token = explicit.flatMap(HubToken.init) { return token }
        if isTrue(environment["HF_HUB_DISABLE_IMPLICIT_TOKEN"]) { return nil }
        for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"] {
            if let token = environment[name].flatMap(HubToken.init) { return token }
        }
        guard let path = tokenPath(environment) else { return nil }
        return readFile(path).flatMap(HubToken.init)
    }

    /// Where the official client keeps the token.
    package static func tokenPath(_ environment: [String: String]) -> String? {
        if let path = value(environment["HF_TOKEN_PATH"]) { return expandingHome(path, environment) }
        return hubHome(environment).map { $0 + "/token" }
    }

    /// `HF_HOME`, `$XDG_CACHE_HOME/huggingface` or `~/.cache/huggingface`.
    package static func hubHome(_ environment: [String: String]) -> String? {
        if let home = value(environment["HF_HOME"]) { return expandingHome(home, environment) }
        if let cache = value(environment["XDG_CACHE_HOME"]) {
            return expandingHome(cache, environment) + "/huggingface"
        }
        return value(environment["HOME"]).map { $0 + "/.cache/huggingface" }
    }

    private static func expandingHome(_ path: String, _ environment: [String: String]) -> String {
        guard path == "~" || path.hasPrefix("~/"), let home = value(environment["HOME"]) else { return path }
        return home + path.dropFirst()
    }

    private static func value(_ text: String?) -> String? { text.flatMap { $0.isEmpty ? nil : $0 } }

    /// `1`, `ON`, `YES` or `TRUE`, in any case.
    package static func isTrue(_ text: String?) -> Bool {
        guard let text else { return false }
        return ["1", "ON", "YES", "TRUE"].contains(text.uppercased())
    }
}

/// How many of what we accept from a Hub before we call it hostile.
package struct HubLimits: Sendable {
    /// Of one JSON reply, in bytes.
    package var replyBytes = 32 << 20
    package var treePages = 10_000
    package var treeEntries = 2_000_000
    /// Of an error's body, in bytes.
    package var errorBytes = 2048
    package var redirects = 20
    package init() {}
}

/// How the client behaves; see `HubConfiguration.fromEnvironment`.
package struct HubConfiguration: Sendable {
    /// The base URL, without a closing `/`.
    package var endpoint: String
    package var token: HubToken?
    /// Nothing is sent; every call fails at once.
    package var isOffline = false
    package var userAgent: String
    package var limits = HubLimits()
    package var retry = RetryPolicy()
    /// How many requests the caller has in flight at most: the pace drops when the Hub's quota has fewer left.
    package var workers = 8
    /// For a call without a deadline of its own, all its retries and waits together.
    package var callDeadline: Duration = .seconds(900)

    /// - Throws: `HubError.invalidName` when the endpoint is not an http or https URL.
    package init(endpoint: String, token: HubToken? = nil, userAgent: String = "penstock; swift") throws(HubError) {
        var base = endpoint[...]
        while base.hasSuffix("/") { base = base.dropLast() }
        guard let remainder = WebOrigin.remainder(of: String(base)), !remainder.contains("?"), !remainder.contains("#")
        else {
            throw HubError(
                .invalidName,
                "the Hub endpoint '\(redacted(printable(endpoint, limit: 200)))' is not an http(s) URL"
            )
        }
        self.endpoint = String(base)
        self.token = token
        self.userAgent = userAgent
    }

    /// `HF_ENDPOINT`, the token's variables and files, `HF_HUB_OFFLINE`, `HF_HUB_USER_AGENT_ORIGIN`, as the official
    /// client reads them.
    package static func fromEnvironment(
        _ environment: [String: String],
        explicitToken: String? = nil,
        version: String,
        readFile: (String) -> String?
    ) throws(HubError) -> HubConfiguration {
        let named = environment["HF_ENDPOINT"].flatMap { $0.isEmpty ? nil : $0 }
        var agent = "penstock/\(version); swift"
        if let origin = environment["HF_HUB_USER_AGENT_ORIGIN"], !origin.isEmpty,
            origin.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F })
        {
            agent += "; origin/\(origin)"
        }
        let token = TokenLookup.token(explicit: explicitToken, environment: environment, readFile: readFile)
        var configuration = try HubConfiguration(
            endpoint: named ?? "https://huggingface.co",
            token: token,
            userAgent: agent
        )
        configuration.isOffline =
            TokenLookup.isTrue(environment["HF_HUB_OFFLINE"]) || TokenLookup.isTrue(environment["TRANSFORMERS_OFFLINE"])
        return configuration
    }
}
