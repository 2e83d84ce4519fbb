/// The conditions of a call on the object it reads or replaces.
struct Preconditions: Sendable, Equatable {
    var generationMatch: Int64?
    var generationNotMatch: Int64?
    var metagenerationMatch: Int64?
    var metagenerationNotMatch: Int64?
    var etagMatch: String?
    var etagNotMatch: String?

    init() {}

    /// From the query of a JSON call.
    ///
    /// - Parameter source: reads the `ifSource…` conditions of a copy or move.
    init(query: RequestTarget, source: Bool = false) throws(APIError) {
        let prefix = source ? "ifSource" : "if"
        generationMatch = try query.int64("\(prefix)GenerationMatch")
        generationNotMatch = try query.int64("\(prefix)GenerationNotMatch")
        metagenerationMatch = try query.int64("\(prefix)MetagenerationMatch")
        metagenerationNotMatch = try query.int64("\(prefix)MetagenerationNotMatch")
    }

    /// From the header fields of an XML call.
    init(headers: HeaderFields) throws(APIError) {
        func number(_ name: String) throws(APIError) -> Int64? {
            guard let text = headers[name] else { return nil }
            guard let value = Int64(text) else { throw .invalid("Invalid argument: \(name)") }
            return value
        }
        generationMatch = try number("x-goog-if-generation-match")
        metagenerationMatch = try number("x-goog-if-metageneration-match")
        etagMatch = headers["If-Match"]
        etagNotMatch = headers["If-None-Match"]
    }

    /// - Throws: 412, or 304 when a read need not be answered again.
    func check(_ object: StoredObject?, isRead: Bool = false) throws(APIError) {
        let generation = object?.generation ?? 0
        let metageneration = object?.metageneration ?? 0
        if let generationMatch, generationMatch != generation { throw .conditionNotMet }
        if let metagenerationMatch, metagenerationMatch != metageneration { throw .conditionNotMet }
        if let etagMatch, !matches(etagMatch, object) { throw .conditionNotMet }
        let isUnchanged =
            generationNotMatch == generation || metagenerationNotMatch == metageneration
            || etagNotMatch.map { matches($0, object) } == true
        if isUnchanged { throw isRead ? .notModified : .conditionNotMet }
    }

    private func matches(_ tags: String, _ object: StoredObject?) -> Bool {
        guard let object else { return false }
        return tags.utf8.split(separator: UInt8(ascii: ",")).contains { item in
            let tag = trimmed(String(Substring(item)))
            return tag == "*" || tag == object.etag || tag == object.xmlEtag
        }
    }
}

extension RequestTarget {
    /// A whole number of the query; nil when it is not there.
    ///
    /// - Throws: 400 when it is something else.
    func int64(_ name: String) throws(APIError) -> Int64? {
        guard let text = value(name), !text.isEmpty else { return nil }
        guard let number = Int64(text) else { throw .invalid("Invalid value for \(name): \(text)") }
        return number
    }

    /// Whether a parameter is true; the Python client spells it with a capital.
    func flag(_ name: String) -> Bool { value(name).map { isSame($0, "true") || $0 == "1" } ?? false }
}
