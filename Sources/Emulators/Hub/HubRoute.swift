/// What a request asks of the Hub.
enum HubRoute: Equatable {
    case whoAmI
    case info(HubRepositoryName, revision: String?)
    case tree(HubRepositoryName, revision: String, path: String)
    case pathsInfo(HubRepositoryName, revision: String)
    case references(HubRepositoryName)
    case commits(HubRepositoryName, revision: String)
    case accessCheck(HubRepositoryName)
    case resolve(HubRepositoryName, revision: String, path: String)
    case resolveCache(HubRepositoryName, commit: String, path: String)
    case raw(HubRepositoryName, revision: String, path: String)
    case unknown

    /// The quota it counts against.
    var bucket: String? {
        switch self {
        case .resolve, .resolveCache, .raw: "resolvers"
        case .unknown: nil
        default: "api"
        }
    }

    var repository: HubRepositoryName? {
        switch self {
        case .info(let name, _), .tree(let name, _, _), .pathsInfo(let name, _), .references(let name),
            .commits(let name, _),
            .accessCheck(let name), .resolve(let name, _, _), .resolveCache(let name, _, _), .raw(let name, _, _):
            name
        case .whoAmI, .unknown: nil
        }
    }

    init(_ segments: [String]) {
        if segments.first == "api" {
            self = Self.api(Array(segments.dropFirst()))
        } else {
            self = Self.page(segments)
        }
    }

    private static let actions: Set = ["revision", "tree", "paths-info", "refs", "commits", "auth-check"]

    private static func api(_ segments: [String]) -> HubRoute {
        if segments == ["whoami-v2"] { return .whoAmI }
        if segments.first == "resolve-cache" { return resolveCache(Array(segments.dropFirst())) }
        guard let kind = segments.first.flatMap(HubRepositoryKind.init(rawValue:)) else { return .unknown }
        let rest = Array(segments.dropFirst())
        // A canonical id has one part: then the action comes second.
        let length =
            rest.count >= 2 && actions.contains(rest[1]) && !(rest.count >= 3 && actions.contains(rest[2])) ? 1 : 2
        guard !rest.isEmpty else { return .unknown }
        let name = HubRepositoryName(rest.prefix(length).joined(separator: "/"), kind: kind)
        let tail = Array(rest.dropFirst(length))
        switch (tail.first, tail.count) {
        case (nil, _): return .info(name, revision: nil)
        case ("revision", 2): return .info(name, revision: tail[1])
        case ("tree", 2...): return .tree(name, revision: tail[1], path: tail.dropFirst(2).joined(separator: "/"))
        case ("paths-info", 2): return .pathsInfo(name, revision: tail[1])
        case ("refs", 1): return .references(name)
        case ("commits", 2): return .commits(name, revision: tail[1])
        case ("auth-check", 1): return .accessCheck(name)
        default: return .unknown
        }
    }

    private static func resolveCache(_ segments: [String]) -> HubRoute {
        guard let kind = segments.first.flatMap(HubRepositoryKind.init(rawValue:)),
            let at = segments.prefix(4).lastIndex(where: {
                $0.utf8.count == 40 && $0.utf8.allSatisfy { hexDigit($0) != nil }
            }),
            at >= 2, at + 1 < segments.count
        else { return .unknown }
        let name = HubRepositoryName(segments[1..<at].joined(separator: "/"), kind: kind)
        return .resolveCache(name, commit: segments[at], path: segments[(at + 1)...].joined(separator: "/"))
    }

    private static func page(_ segments: [String]) -> HubRoute {
        let kind = segments.first.flatMap(HubRepositoryKind.init(rawValue:))
        let rest = kind == nil || kind == .models ? segments : Array(segments.dropFirst())
        guard let at = rest.prefix(3).firstIndex(where: { $0 == "resolve" || $0 == "raw" }), at >= 1,
            at + 2 < rest.count
        else {
            return .unknown
        }
        let name = HubRepositoryName(rest[..<at].joined(separator: "/"), kind: kind ?? .models)
        let path = rest[(at + 2)...].joined(separator: "/")
        return rest[at] == "raw"
            ? .raw(name, revision: rest[at + 1], path: path) : .resolve(name, revision: rest[at + 1], path: path)
    }

    /// The request's path with another repository in the place of this one.
    func renamedPath(_ rawPath: String, to name: HubRepositoryName) -> String? {
        guard let old = repository, let range = firstRange(of: "/\(old.id)/", in: rawPath + "/") else { return nil }
        let whole = rawPath + "/"
        return String((whole[..<range.lowerBound] + "/\(name.id)/" + whole[range.upperBound...]).dropLast())
    }
}

private func firstRange(of needle: String, in text: String) -> Range<String.Index>? {
    var start = text.startIndex
    while start < text.endIndex {
        if text[start...].hasPrefix(needle) { return start..<text.index(start, offsetBy: needle.count) }
        start = text.index(after: start)
    }
    return nil
}
