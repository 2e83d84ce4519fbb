package import HTTPEngine

/// Whom the Hub's token may reach.
package struct TokenScope: Sendable, Equatable {
    /// The configured endpoint, and the Hub's own names, to which mirrors and renames redirect.
    package let origins: Set<WebOrigin>

    /// - Parameter endpoint: an absolute URL.
    package init(endpoint: WebOrigin) {
        let official = ["https://huggingface.co", "https://hub-ci.huggingface.co", "https://hf.co"]
        origins = Set(official.compactMap(WebOrigin.init(url:)) + [endpoint])
    }

    /// Only exact origins: an https name over http does not qualify.
    package func admits(_ url: String) -> Bool { WebOrigin(url: url).map(origins.contains) ?? false }
}
