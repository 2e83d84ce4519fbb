import LinuxPlatform

/// The Hub's own routes for tests, below `/_emulator/hub/`:
///
/// - `POST repository`: `{"id":"acme/tiny","kind":"models", …}` with members of `repo.json` to change.
/// - `POST options`: `pageSize`, `signedURLSeconds`, `storageHost`, `knownTokens`,
///   `rateLimits: {"api": {"requests": 500, "windowSeconds": 300}}`.
/// - `POST expire`: every signed URL that was given out is expired from now on.
extension HubService {
    func administer(_ request: inout EmulatorRequest) -> EmulatorResponse {
        guard request.method == "POST", let body = try? request.body.readAll(limit: 1 << 20) else {
            return EmulatorResponse(404, text: "no such admin route\n")
        }
        if request.target.rawPath == "/_emulator/hub/expire" {
            expireSignedURLs()
            return EmulatorResponse(204)
        }
        guard let json = JSONValue(parsing: body) else { return EmulatorResponse(400, text: "the body is no JSON\n") }
        switch request.target.rawPath {
        case "/_emulator/hub/repository": return changeRepository(json)
        case "/_emulator/hub/options":
            state.withLock { $0.options.merge(json) }
            return EmulatorResponse(204)
        default: return EmulatorResponse(404, text: "no such admin route\n")
        }
    }

    func expireSignedURLs() { state.withLock { $0.signer.epoch += 1 } }

    private func changeRepository(_ json: JSONValue) -> EmulatorResponse {
        guard let id = json["id"]?.text else { return EmulatorResponse(400, text: "id is missing\n") }
        let kind = json["kind"]?.text.flatMap(HubRepositoryKind.init(rawValue:)) ?? .models
        do throws(HubCatalog.Failure) {
            try catalog.change(HubRepositoryName(id, kind: kind)) { $0.merge(json) }
            return EmulatorResponse(204)
        } catch {
            return EmulatorResponse(404, text: "no such repository: \(id)\n")
        }
    }
}

extension HubOptions {
    /// Takes over the members that are there.
    mutating func merge(_ json: JSONValue) {
        pageSize = json["pageSize"]?.int64.map { max(1, Int($0)) } ?? pageSize
        signedURLSeconds = json["signedURLSeconds"]?.int64.map { min(max(0, Int($0)), 604_800) } ?? signedURLSeconds
        storageHost = json["storageHost"]?.text ?? storageHost
        if let list = json["knownTokens"]?.elements { knownTokens = Set(list.compactMap(\.text)) }
        for (bucket, limit) in json["rateLimits"]?.members ?? [:] {
            guard let requests = limit["requests"]?.int64, let seconds = limit["windowSeconds"]?.int64 else {
                rateLimits[bucket] = nil
                continue
            }
            rateLimits[bucket] = HubQuota.Limit(requests: Int(requests), windowSeconds: Int(seconds))
        }
    }
}
