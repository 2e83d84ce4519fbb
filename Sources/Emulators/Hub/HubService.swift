import LinuxPlatform

/// How the emulated Hub behaves. Everything can be changed while it runs.
package struct HubOptions: Sendable {
    /// Entries of one page of a tree; a twentieth of it with `expand=true`.
    package var pageSize = 1000
    /// How long a signed URL works.
    package var signedURLSeconds = 3600
    /// The host name in signed URLs; nil for the one that the client used for the Hub.
    package var storageHost: String?
    /// Tokens that are accepted; empty to accept every one.
    package var knownTokens: Set<String> = []
    /// By bucket (`api`, `resolvers`); none without an entry.
    package var rateLimits: [String: HubQuota.Limit] = [:]

    package init() {}
}

/// Answers the Hub's requests. Its storage host is `HubStorageHost`.
final class HubService: Sendable {
    struct State {
        var options: HubOptions
        var quota = HubQuota()
        var signer = URLSigner()
        var requests = 0
        /// Storage paths that were handed out, with what they hold.
        var stored: [String: HubEmulatedFile] = [:]
    }

    let catalog: HubCatalog
    let state: Lock<State>
    /// The port of the storage host, known once it listens.
    let storagePort = Lock(0)

    init(catalog: HubCatalog, options: HubOptions) {
        self.catalog = catalog
        state = Lock(State(options: options))
    }

    var options: HubOptions { state.withLock { $0.options } }

    /// The handler of the Hub's server.
    func respond(_ request: inout EmulatorRequest) -> EmulatorResponse {
        if request.target.segments.first == "_emulator" { return administer(&request) }
        let access = HubAccess(request.headers, knownTokens: options.knownTokens)
        let route = HubRoute(request.target.segments)
        let (verdict, number) = count(route, access)
        var response =
            verdict.isAllowed
            ? answer(&request, route, access)
            : HubRefusal.response(429, code: nil, "We had to rate limit you: too many requests in this window.")
        for (name, value) in verdict.headers.sorted(by: { $0.key < $1.key }) { response.headers.add(name, value) }
        response.headers.add("X-Request-Id", "Root=1-emulator;\(number)")
        return response
    }

    private func count(_ route: HubRoute, _ access: HubAccess) -> (HubQuota.Verdict, Int) {
        state.withLock { state in
            state.requests += 1
            guard let bucket = route.bucket else {
                return (HubQuota.Verdict(isAllowed: true, headers: [:]), state.requests)
            }
            state.quota.limits = state.options.rateLimits
            let now = SystemTime().timeOfDay()
            return (state.quota.count(bucket, caller: access.token ?? "", now: now), state.requests)
        }
    }

    private func answer(_ request: inout EmulatorRequest, _ route: HubRoute, _ access: HubAccess) -> EmulatorResponse {
        guard access.isKnown else { return HubRefusal.badToken }
        if route == .whoAmI { return whoAmI(access) }
        guard let name = route.repository else { return HubRefusal.noRoute }
        guard let entry = catalog.entry(name) else {
            if let present = catalog.presentName(of: name),
                let path = route.renamedPath(request.target.rawPath, to: present)
            {
                let query = request.target.rawQuery.isEmpty ? "" : "?\(request.target.rawQuery)"
                return EmulatorResponse(307, headers: ["Location": path + query], text: "Temporary Redirect\n")
            }
            return HubRefusal.noRepository(isAnonymous: access.token == nil)
        }
        if let complaint = access.complaint(about: entry) { return complaint }
        do throws(HubCatalog.Failure) {
            return try answer(&request, route, entry, access)
        } catch {
            switch error {
            case .noRepository: return HubRefusal.noRepository(isAnonymous: access.token == nil)
            case .noRevision: return HubRefusal.noRevision(revision(of: route))
            case .unreadable(let errno): return EmulatorResponse(500, text: "the files cannot be read: \(errno)\n")
            }
        }
    }

    private func answer(
        _ request: inout EmulatorRequest,
        _ route: HubRoute,
        _ entry: HubCatalog.Entry,
        _ access: HubAccess
    ) throws(HubCatalog.Failure) -> EmulatorResponse {
        switch route {
        case .info(_, let revision): return try info(request, entry, revision)
        case .tree(_, let revision, let path): return try tree(request, entry, revision, path)
        case .pathsInfo(_, let revision): return try pathsInfo(&request, entry, revision)
        case .references: return try references(request, entry)
        case .commits(_, let revision): return try commits(entry, revision)
        case .accessCheck: return access.complaintAboutFiles(of: entry) ?? json([:])
        case .resolve(_, let revision, let path), .raw(_, let revision, let path):
            if let complaint = access.complaintAboutFiles(of: entry) { return complaint }
            let snapshot = try catalog.snapshot(entry, revision: revision)
            if case .raw = route { return raw(request, entry, snapshot, path) }
            return resolve(request, entry, snapshot, path)
        case .resolveCache(_, let commit, let path):
            if let complaint = access.complaintAboutFiles(of: entry) { return complaint }
            return resolveCache(request, entry, try catalog.snapshot(entry, revision: commit), path)
        case .whoAmI, .unknown: return HubRefusal.noRoute
        }
    }

    private func revision(of route: HubRoute) -> String {
        switch route {
        case .info(_, let revision): revision ?? "main"
        case .tree(_, let revision, _), .pathsInfo(_, let revision), .commits(_, let revision),
            .resolve(_, let revision, _),
            .resolveCache(_, let revision, _), .raw(_, let revision, _):
            revision
        default: ""
        }
    }

    private func whoAmI(_ access: HubAccess) -> EmulatorResponse {
        guard access.token != nil else { return HubRefusal.response(401, code: nil, "Invalid username or password.") }
        return json([
            "type": "user", "id": "emulated", "name": "tester", "fullname": "Tester", "isPro": false, "orgs": [],
            "auth": ["type": "access_token", "accessToken": ["displayName": "test", "role": "read"]],
        ])
    }

    func json(_ value: JSONValue) -> EmulatorResponse {
        EmulatorResponse(
            .ok,
            headers: ["Content-Type": "application/json; charset=utf-8"],
            body: .bytes(value.serialized)
        )
    }
}
