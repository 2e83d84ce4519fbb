/// Which members of a resource a client wants: the `fields` parameter, `items(name,size),nextPageToken` or `items/name`.
///
/// Source: "Partial response" of Google's JSON APIs.
struct FieldMask {
    /// What is wanted of each member; an empty mask wants all of it.
    private var members: [String: FieldMask] = [:]

    /// Wants everything.
    init() {}

    /// - Throws: 400 for unbalanced or empty parts.
    init(_ text: String) throws(APIError) {
        guard text.utf8.count <= 8192 else { throw .invalid("Invalid field selection: too long") }
        var rest = Array(text.utf8)[...]
        guard let parsed = Self.parse(&rest, depth: 0), rest.isEmpty else {
            throw .invalid("Invalid field selection \(text)")
        }
        self = parsed
    }

    /// The value with nothing but what is wanted.
    func applied(to value: JSONValue) -> JSONValue {
        if members.isEmpty { return value }
        switch value {
        case .array(let elements): return .array(elements.map(applied))
        case .object(let object):
            var kept: [String: JSONValue] = [:]
            for (name, member) in object {
                if let mask = members[name] ?? members["*"] { kept[name] = mask.applied(to: member) }
            }
            return .object(kept)
        default: return value
        }
    }

    private static func parse(_ rest: inout ArraySlice<UInt8>, depth: Int) -> FieldMask? {
        var mask = FieldMask()
        while true {
            guard let member = parseMember(&rest, depth: depth) else { return nil }
            mask.add(member.name, member.mask)
            guard rest.first == UInt8(ascii: ",") else { return mask }
            rest = rest.dropFirst()
        }
    }

    /// One name, with what follows its slash or stands in its parentheses.
    private static func parseMember(
        _ rest: inout ArraySlice<UInt8>,
        depth: Int
    ) -> (name: String, mask: FieldMask)? {
        let name = rest.prefix { !"/(),".utf8.contains($0) }
        guard !name.isEmpty, depth < 16 else { return nil }
        rest = rest.dropFirst(name.count)
        var inner = FieldMask()
        if rest.first == UInt8(ascii: "/") {
            rest = rest.dropFirst()
            guard let member = parseMember(&rest, depth: depth + 1) else { return nil }
            inner.add(member.name, member.mask)
        } else if rest.first == UInt8(ascii: "(") {
            rest = rest.dropFirst()
            guard let parsed = parse(&rest, depth: depth + 1), rest.first == UInt8(ascii: ")") else { return nil }
            rest = rest.dropFirst()
            inner = parsed
        }
        return (trimmed(String(decoding: name, as: UTF8.self)), inner)
    }

    private mutating func add(_ name: String, _ inner: FieldMask) {
        guard let known = members[name] else {
            members[name] = inner
            return
        }
        if known.members.isEmpty { return }
        if inner.members.isEmpty {
            members[name] = inner
        } else {
            for (key, mask) in inner.members { members[name]?.add(key, mask) }
        }
    }
}
