/// A piece of a YAML document with where it stands. Every scalar is text: what it means is for whoever asked for it.
package struct YAMLNode: Hashable, Sendable {
    /// From 1.
    package let line: Int
    package let content: Content

    package indirect enum Content: Hashable, Sendable {
        /// Null, `~` and nothing at all, when they are not quoted, are nil.
        case scalar(String?)
        case sequence([YAMLNode])
        /// In the order of the document; no key stands twice.
        case mapping([Entry])
    }

    package struct Entry: Hashable, Sendable {
        package let key: String
        /// Of the key, from 1.
        package let line: Int
        package let value: YAMLNode
    }

    /// One document's root, or nil when there is none, or only comments.
    ///
    /// - Throws: `ConfigurationError` with the line: not YAML; larger than 1 MiB, deeper than 16 levels or with more than
    ///   10,000 nodes; with anchors, aliases, tags or merge keys, which could make a small file large; with a key twice,
    ///   or more than one document.
    package static func parse(_ bytes: [UInt8], file: String) throws(ConfigurationError) -> YAMLNode? {
        var reader = try YAMLReader(bytes, file: file)
        return try reader.document()
    }
}
