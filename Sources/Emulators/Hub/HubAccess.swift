/// Who asks, and what they may see.
struct HubAccess: Sendable {
    /// The bearer token; nil for anonymous callers.
    let token: String?
    /// False when the Hub does not know the token.
    let isKnown: Bool

    /// - Parameter knownTokens: empty to know every token.
    init(_ headers: HeaderFields, knownTokens: Set<String>) {
        let value = headers["Authorization"]
        let token = value.flatMap { $0.hasPrefix("Bearer ") ? String($0.dropFirst(7)) : nil }
        self.token = token
        isKnown = value == nil || token.map { knownTokens.isEmpty || knownTokens.contains($0) } ?? false
    }

    /// Why the repository is hidden from the caller; nil when it is not.
    func complaint(about entry: HubCatalog.Entry) -> EmulatorResponse? {
        if entry.settings.isPrivate, token == nil { return HubRefusal.noRepository(isAnonymous: true) }
        return nil
    }

    /// Why the files are closed to the caller; nil when they are not.
    func complaintAboutFiles(of entry: HubCatalog.Entry) -> EmulatorResponse? {
        if entry.settings.isDisabled { return HubRefusal.disabled }
        guard entry.settings.gated != nil else { return nil }
        guard let token else { return HubRefusal.gated(entry.name, status: 401) }
        return entry.settings.readers.contains(token) ? nil : HubRefusal.gated(entry.name, status: 403)
    }
}

/// The refusals of the Hub, in its words.
///
/// Source: huggingface_hub, `hf_raise_for_status`, and answers of the Hub quoted in public issues.
enum HubRefusal {
    static func response(_ status: HTTPStatus, code: String?, _ message: String) -> EmulatorResponse {
        var headers = HeaderFields()
        if let code { headers.add("X-Error-Code", code) }
        headers.add("X-Error-Message", message)
        headers.add("Content-Type", "application/json; charset=utf-8")
        let json: JSONValue = ["error": .string(message)]
        return EmulatorResponse(status, headers: headers, body: .bytes(json.serialized))
    }

    static func noRepository(isAnonymous: Bool) -> EmulatorResponse {
        isAnonymous
            ? response(401, code: "RepoNotFound", "Invalid username or password.")
            : response(404, code: "RepoNotFound", "Repository not found")
    }

    static func noRevision(_ revision: String) -> EmulatorResponse {
        response(404, code: "RevisionNotFound", "Invalid rev id: \(printableASCII(revision))")
    }

    static let noEntry = response(404, code: "EntryNotFound", "Entry not found")
    static let disabled = response(403, code: nil, "Access to this resource is disabled.")
    static let badToken = response(401, code: nil, "Invalid credentials in Authorization header")
    static let noRoute = response(404, code: nil, "Sorry, we can't find the page you are looking for.")

    static func gated(_ name: HubRepositoryName, status: HTTPStatus) -> EmulatorResponse {
        let advice =
            status == 401
            ? "You must have access to it and be authenticated to access it. Please log in."
            : "Visit its page to ask for access."
        return response(status, code: "GatedRepo", "Access to \(name.id) is restricted. \(advice)")
    }
}

/// Fit for a header field.
private func printableASCII(_ text: String) -> String {
    String(decoding: text.utf8.prefix(100).map { (0x20..<0x7F).contains($0) ? $0 : 0x3F }, as: UTF8.self)
}
