import HTTPEngine

/// What a repository holds; each kind has a name space of its own.
package enum RepositoryKind: String, Sendable, Hashable, CaseIterable {
    case model
    case dataset
    case space

    /// The segment after `/api/`.
    package var apiSegment: String { rawValue + "s" }
    /// What stands before the id in page and file URLs.
    package var pagePrefix: String { self == .model ? "" : apiSegment + "/" }
}

/// A repository of a Hub: its kind and its checked id, `name` or `namespace/name`.
///
/// Source: huggingface_hub, `validate_repo_id`: at most 96 characters of `[A-Za-z0-9._-]`, no `--`, no `..`, not ending
/// in `.git`, no `-` or `.` at either end of a part.
package struct RepositoryID: Hashable, Sendable, CustomStringConvertible {
    package static let maximumLength = 96
    package let kind: RepositoryKind
    package let id: String

    /// - Throws: `HubError.invalidName` saying what is wrong with it.
    package init(_ id: String, kind: RepositoryKind = .model) throws(HubError) {
        if let complaint = Self.complaint(about: id) {
            throw HubError(.invalidName, "'\(printable(id, limit: 120))' is not a repository id: \(complaint)")
        }
        self.kind = kind
        self.id = id
    }

    private static func complaint(about id: String) -> String? {
        if id.isEmpty { return "it is empty" }
        if id.utf8.count > maximumLength { return "it is longer than \(maximumLength) characters" }
        let parts = id.split(separator: "/", omittingEmptySubsequences: false)
        if parts.count > 2 { return "it has more than one '/'; write 'name' or 'namespace/name'" }
        if id.hasSuffix(".git") { return "it ends in '.git'" }
        for part in parts {
            if part.isEmpty { return "a part of it is empty" }
            if let complaint = complaint(aboutPart: Array(part.utf8)) { return complaint }
        }
        return nil
    }

    private static func complaint(aboutPart part: [UInt8]) -> String? {
        let isAllowed = { (byte: UInt8) in isAlphanumeric(byte) || byte == 0x2D || byte == 0x2E || byte == 0x5F }
        if !part.allSatisfy(isAllowed) { return "only letters, digits, '-', '_' and '.' are allowed" }
        if let first = part.first, first == 0x2D || first == 0x2E { return "a part begins with '-' or '.'" }
        if let last = part.last, last == 0x2D || last == 0x2E { return "a part ends with '-' or '.'" }
        for (left, right) in zip(part, part.dropFirst()) where left == right && (left == 0x2D || left == 0x2E) {
            return "'--' and '..' are not allowed"
        }
        return nil
    }

    /// The directory of the official client's cache: `models--acme--tiny`.
    package var cacheDirectory: String {
        kind.apiSegment + "--" + id.split(separator: "/").joined(separator: "--")
    }

    /// The id with its kind where that is not the usual one: `acme/tiny`, `datasets/acme/corpus`.
    package var description: String { kind.pagePrefix + id }

    package static func == (left: Self, right: Self) -> Bool { left.kind == right.kind && left.id == right.id }
}

/// A repository as a person names it, with a revision and a path where they were given.
package struct RepositoryReference: Hashable, Sendable {
    package var repository: RepositoryID
    package var revision: Revision?
    package var path: String?

    /// Reads `ns/name`, `datasets/ns/name`, `spaces/ns/name`, or `hf://[datasets/|spaces/]ns/name[@rev][/path]`.
    ///
    /// - Parameter kind: what an option said; the text wins only where both agree.
    /// - Throws: `HubError.invalidName`.
    package init(_ text: String, kind: RepositoryKind? = nil) throws(HubError) {
        let scheme = "hf://"
        let isURL = text.hasPrefix(scheme)
        var parts = text.dropFirst(isURL ? scheme.count : 0).split(separator: "/", omittingEmptySubsequences: false)[
            ...
        ]
        let named = parts.count > 1 ? RepositoryKind.allCases.first { $0.apiSegment == parts.first ?? "" } : nil
        if named != nil { parts = parts.dropFirst() }
        if let named, let kind, named != kind {
            throw HubError(.invalidName, "'\(printable(text, limit: 200))' names a \(named) and the option a \(kind)")
        }
        if isURL, parts.first == "buckets" {
            throw HubError(.invalidName, "'\(printable(text, limit: 200))' is a storage bucket, not a repository")
        }
        let effective = named ?? kind ?? .model
        guard isURL else {
            repository = try RepositoryID(parts.joined(separator: "/"), kind: effective)
            return
        }
        let (id, revision, path) = try Self.splitURL(Array(parts), text)
        repository = try RepositoryID(id, kind: effective)
        self.revision = revision
        self.path = path
    }

    private static func splitURL(_ parts: [Substring], _ text: String) throws(HubError) -> (String, Revision?, String?)
    {
        // A revision with a slash (refs/pr/1) is quoted in this form, or is one of the two the Hub itself makes.
        guard let at = parts.prefix(2).firstIndex(where: { $0.contains("@") }) else {
            let path = parts.dropFirst(2).joined(separator: "/")
            return (parts.prefix(2).joined(separator: "/"), nil, path.isEmpty ? nil : path)
        }
        let halves = parts[at].split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
        let id = (parts[..<at] + [halves[0]]).joined(separator: "/")
        var rest = Array(parts[(at + 1)...])
        var revision = String(halves[1])
        if revision == "refs", rest.count >= 2, rest[0] == "pr" || rest[0] == "convert" {
            revision += "/" + rest.prefix(2).joined(separator: "/")
            rest.removeFirst(2)
        }
        guard let decoded = PercentEncoding.decode(revision) else {
            throw HubError(.invalidName, "the revision in '\(printable(text, limit: 200))' is not validly quoted")
        }
        let path = rest.joined(separator: "/")
        return (id, try Revision(decoded), path.isEmpty ? nil : path)
    }
}

/// A branch, a tag, a commit, or a reference such as `refs/pr/1`.
package struct Revision: Hashable, Sendable, CustomStringConvertible {
    package static let maximumLength = 256
    package let name: String

    /// - Throws: `HubError.invalidName` when it is empty, too long, or holds control characters.
    package init(_ name: String) throws(HubError) {
        let isUsable =
            !name.isEmpty && name.utf8.count <= Self.maximumLength && name.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7F }
        let segments = name.split(separator: "/", omittingEmptySubsequences: false)
        guard isUsable, !segments.contains(where: { $0.isEmpty || $0 == "." || $0 == ".." }) else {
            throw HubError(.invalidName, "'\(printable(name, limit: 120))' is not a revision")
        }
        self.name = name
    }

    private init(unchecked name: String) { self.name = name }
    package static let main = Revision(unchecked: "main")

    /// Whether it names a commit in full, and so can never move.
    package var isCommit: Bool { CommitID(name) != nil }
    /// One path segment: `/` is quoted too.
    package var quoted: String { PercentEncoding.segment(name) }
    package var description: String { name }
}

/// A commit: 40 lower-case hexadecimal digits.
package struct CommitID: Hashable, Sendable, CustomStringConvertible {
    package let hex: String
    /// Nil for anything else.
    package init?(_ hex: String) {
        guard isLowercaseHex(hex, count: 40) else { return nil }
        self.hex = hex
    }
    package var description: String { hex }
}
