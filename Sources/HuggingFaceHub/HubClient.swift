import FoundationEssentials
package import HTTPEngine
package import LinuxPlatform
import ObjectStorage
package import Telemetry

/// What a client tells while it works. Called on any thread; must not block.
package struct HubObserver: Sendable {
    /// All workers wait for the Hub's rate limit; once per pause.
    package var onWait: @Sendable (RateLimitWait) -> Void
    /// The Hub warns (`X-HF-Warning`); once per topic. Text for people, free of control characters.
    package var onWarning: @Sendable (_ topic: String, _ message: String) -> Void

    package init(
        onWait: @escaping @Sendable (RateLimitWait) -> Void = { _ in },
        onWarning: @escaping @Sendable (_ topic: String, _ message: String) -> Void = { _, _ in }
    ) {
        self.onWait = onWait
        self.onWarning = onWarning
    }
}

/// A Hub: resolves revisions, lists trees, and gives a source of ranges for each file.
///
/// Every call retries what is transient, waits with all others for rate limits, follows redirects by origin, and sends
/// the token to the Hub's own origins only. Source: hub-docs "Hub API endpoints"; huggingface_hub 2.4.0.
package final class HubClient: Sendable {
    package let configuration: HubConfiguration
    let transport: any HTTPTransport
    let time: any TimeSource
    let limiter: RateLimiter
    let scope: TokenScope
    let random: @Sendable () -> Double
    let metrics: HubMetrics
    private let observer: HubObserver
    private let warned = Lock<Set<String>>([])

    /// - Parameters:
    ///   - metrics: where it counts; its own by default.
    ///   - random: from 0 up to 1, for the jitter of waits.
    /// - Throws: `HubError.invalidName` when the endpoint is not an http or https URL.
    package init(
        configuration: HubConfiguration,
        transport: any HTTPTransport,
        time: any TimeSource = SystemTime(),
        observer: HubObserver = HubObserver(),
        metrics: MetricRegistry = MetricRegistry(),
        random: @escaping @Sendable () -> Double = { Double.random(in: 0..<1) }
    ) throws(HubError) {
        guard let origin = WebOrigin(url: configuration.endpoint) else {
            throw HubError(.invalidName, "the Hub endpoint is not an http(s) URL")
        }
        self.configuration = configuration
        self.transport = transport
        self.time = time
        self.observer = observer
        self.random = random
        let counted = HubMetrics(metrics)
        self.metrics = counted
        scope = TokenScope(endpoint: origin)
        limiter = RateLimiter(
            workers: configuration.workers,
            time: time,
            isAnonymous: configuration.token == nil,
            onWait: { wait in
                counted.rateLimitPauses.add()
                observer.onWait(wait)
            }
        )
    }

    /// The commit that a revision names now.
    ///
    /// Succeeds for a gated repository whose files the caller may not read; see `gating` and `checkAccess`.
    package func commit(of repository: RepositoryID, at revision: Revision = .main) async throws(HubError) -> HubCommit
    {
        let url =
            "\(configuration.endpoint)/api/\(repository.kind.apiSegment)/\(repository.id)/revision/\(revision.quoted)"
        let subject = subject(repository, revision.name)
        let reply = try await api(url, subject)
        let info: RepositoryInfo = try decode(reply, subject, "repository information")
        guard let sha = info.sha.flatMap(CommitID.init) else {
            throw notAHub(subject, "the reply names no commit", reply)
        }
        if let asked = CommitID(revision.name), asked != sha {
            throw notAHub(subject, "asked for commit \(asked) and was given \(sha)", reply)
        }
        return HubCommit(
            repository: try info.id.map { id throws(HubError) in try RepositoryID(id, kind: repository.kind) }
                ?? repository,
            requested: repository,
            revision: revision,
            sha: sha,
            isPrivate: info.private ?? false,
            gating: info.gated ?? .open,
            isDisabled: info.disabled ?? false
        )
    }

    /// All files of a commit, in the Hub's order; directories are left out.
    ///
    /// - Throws: `unusableListing` for names that leave the destination, stand there twice or are file and directory at
    ///   once, for pages that go in a circle or to another origin, for a listing that lacks files that the Hub names
    ///   elsewhere, and past the limits; `integrity` for an entry whose hashes contradict each other.
    package func tree(of commit: HubCommit) async throws(HubError) -> [HubFile] {
        let repository = commit.repository
        let base = "\(configuration.endpoint)/api/\(repository.kind.apiSegment)/\(repository.id)"
        let subject = subject(repository, commit.sha.hex)
        var builder = TreeBuilder(subject: subject.name, limits: configuration.limits)
        var next: String? = "\(base)/tree/\(commit.sha)?recursive=true&expand=false"
        while let url = next {
            try builder.visit(url)
            let reply = try await api(url, subject)
            try builder.add(page: reply.response.body)
            next = try nextLink(reply.response.headers).map { link throws(HubError) in
                guard let target = WebOrigin.resolve(link, against: reply.url),
                    WebOrigin(url: target) == WebOrigin(url: reply.url)
                else {
                    throw HubError(.unusableListing, "\(subject.name): the listing goes on at another host: refused")
                }
                return target
            }
        }
        if builder.mayBeCut { try await compareWithSiblings(builder, commit, subject) }
        return builder.files
    }

    /// A proxy that strips `Link` headers makes a listing end after a page. The repository's information names the files
    /// too (of very large repositories not all): whatever it names must be in the listing.
    private func compareWithSiblings(
        _ builder: TreeBuilder,
        _ commit: HubCommit,
        _ subject: HubSubject
    ) async throws(HubError) {
        let repository = commit.repository
        let path = "/api/\(repository.kind.apiSegment)/\(repository.id)/revision/\(commit.sha)"
        let info: RepositoryInfo = try decode(
            try await api(configuration.endpoint + path, subject),
            subject,
            "repository information"
        )
        let listed = Set(builder.files.map(\.path))
        let missing = (info.siblings ?? []).filter { sibling in
            (try? SafePath(sibling.rfilename)).map { !listed.contains($0) } ?? true
        }
        guard let first = missing.first else { return }
        throw HubError(
            .unusableListing,
            "\(subject.name): the listing ends after \(listed.count) files and lacks \(missing.count) that the Hub names, "
                + "'\(printable(first.rfilename, limit: 200))' among them; a proxy may strip its Link header"
        )
    }

    /// The branches, tags and other references; pull requests only when asked for.
    package func references(
        of repository: RepositoryID,
        includingPullRequests: Bool = false
    ) async throws(HubError) -> HubReferences {
        let query = includingPullRequests ? "?include_prs=1" : ""
        let subject = subject(repository, nil)
        let url = "\(configuration.endpoint)/api/\(repository.kind.apiSegment)/\(repository.id)/refs\(query)"
        let reply = try await api(url, subject)
        let list: ReferenceList = try decode(reply, subject, "list of references")
        return list.checked
    }

    /// Fails as reading a file would when the repository is gated and the caller has no access, or is disabled.
    package func checkAccess(to commit: HubCommit) async throws(HubError) {
        let subject = subject(commit.repository, nil)
        if commit.isDisabled { throw HubError(.disabled, "\(subject.name) was disabled by the Hub.") }
        if commit.gating == .open { return }
        let id = commit.repository
        _ = try await api("\(configuration.endpoint)/api/\(id.kind.apiSegment)/\(id.id)/auth-check", subject)
    }

    /// A source of the file's ranges. Bytes come as the server sends them: the caller compares `file.hash`.
    package func source(for file: HubFile, in commit: HubCommit) -> HubFileSource {
        HubFileSource(client: self, commit: commit, file: file)
    }

    func subject(_ repository: RepositoryID, _ revision: String?, _ path: String? = nil) -> HubSubject {
        HubSubject(
            repository: repository,
            revision: revision,
            path: path,
            endpoint: redacted(configuration.endpoint),
            sendsToken: configuration.token != nil
        )
    }

    /// - Throws: `offline` when nothing may be sent.
    func requireOnline(_ subject: HubSubject) throws(HubError) {
        if configuration.isOffline {
            throw HubError(.offline, "\(subject.name): offline mode is on (HF_HUB_OFFLINE), so the Hub was not asked")
        }
    }

    func noteWarnings(_ headers: HTTPHeaders) {
        for warning in headers.all("x-hf-warning") {
            let halves = warning.split(separator: ";", maxSplits: 1, omittingEmptySubsequences: false)
            let topic = halves.count == 2 ? printable(trimmed(halves[0]), limit: 60) : ""
            let text = printable(redacted(trimmed(halves.last ?? "")), limit: 500)
            // Bounded: a server with ever new topics is heard 100 times.
            let isNew = warned.withLock { $0.count < 100 && $0.insert(topic).inserted }
            if isNew && !text.isEmpty { observer.onWarning(topic, text) }
        }
    }

    private func api(_ url: String, _ subject: HubSubject) async throws(HubError) -> HubReply {
        try requireOnline(subject)
        return try await perform(
            HubCall(
                url: url,
                bucket: .api,
                subject: subject,
                deadline: time.now().advanced(by: configuration.callDeadline),
                limit: configuration.limits.replyBytes
            )
        )
    }

    private func decode<Value: Decodable>(
        _ reply: HubReply,
        _ subject: HubSubject,
        _ what: String
    ) throws(HubError) -> Value {
        do {
            return try JSONDecoder().decode(Value.self, from: Data(reply.response.body))
        } catch {
            throw notAHub(subject, "the \(what) is not the JSON that a Hub sends", reply)
        }
    }

    private func notAHub(_ subject: HubSubject, _ why: String, _ reply: HubReply) -> HubError {
        HubError(
            .notAHub,
            "\(subject.name): \(why)",
            status: reply.response.status,
            requestID: requestID(of: reply.response.headers)
        )
    }
}

private struct RepositoryInfo: Decodable {
    var id: String?
    var sha: String?
    var `private`: Bool?
    var gated: HubGating?
    var disabled: Bool?
    var siblings: [Sibling]?

    struct Sibling: Decodable { var rfilename: String }

    enum CodingKeys: String, CodingKey {
        case id
        case sha
        case `private`
        case gated
        case disabled
        case siblings
    }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        id = try container.decodeIfPresent(String.self, forKey: .id)
        sha = try container.decodeIfPresent(String.self, forKey: .sha)
        `private` = try container.decodeIfPresent(Bool.self, forKey: .private)
        disabled = try container.decodeIfPresent(Bool.self, forKey: .disabled)
        siblings = try? container.decodeIfPresent([Sibling].self, forKey: .siblings)
        // false, "auto" or "manual"; an unknown word means gated in a way that we do not know.
        if let word = try? container.decodeIfPresent(String.self, forKey: .gated) {
            gated = HubGating(rawValue: word) ?? .manual
        }
    }
}

private struct ReferenceList: Decodable {
    struct Item: Decodable {
        var name: String
        var ref: String
        var targetCommit: String
    }
    var branches: [Item]?
    var tags: [Item]?
    var converts: [Item]?
    var pullRequests: [Item]?

    var checked: HubReferences {
        let check = { (items: [Item]?) in
            (items ?? []).compactMap { item in
                CommitID(item.targetCommit).map { HubReference(name: item.name, ref: item.ref, target: $0) }
            }
        }
        return HubReferences(
            branches: check(branches),
            tags: check(tags),
            converts: check(converts),
            pullRequests: check(pullRequests)
        )
    }
}
