package import Telemetry

/// Whether a mount may be used as it was asked for: mounted, and warm where that was asked for.
package enum Readiness: Hashable, Sendable {
    case ready
    /// With what it waits for, for people.
    case waiting(String)
}

/// What somebody wants to have prefetched.
package struct PrefetchOrder: Hashable, Sendable {
    package enum Action: Hashable, Sendable {
        case fetch
        /// Fetch, and keep whatever else comes.
        case pin
        /// Let go what was pinned; nothing is fetched.
        case unpin
        /// Fetch no more of these.
        case stop
    }

    package var action: Action
    /// Files and directories below the mount point, names parted by `/`; empty is everything.
    package var paths: [String]
    /// Patterns of whole paths below the mount point.
    package var globs: [String]

    package init(_ action: Action, paths: [String] = [], globs: [String] = []) {
        self.action = action
        self.paths = paths
        self.globs = globs
    }

    /// As `POST /prefetch` has it. Nil when it says nothing, or two things at once.
    package init?(_ form: FormFields) {
        let actions: [(String, Action)] = [("pin", .pin), ("unpin", .unpin), ("stop", .stop)]
        let chosen = actions.filter { form.flag($0.0) }
        guard chosen.count <= 1 else { return nil }
        self.init(chosen.first?.1 ?? .fetch, paths: form.all("path"), globs: form.all("glob"))
        if paths.isEmpty, globs.isEmpty { return nil }
    }

    package var form: FormFields {
        var form = FormFields()
        switch action {
        case .fetch: break
        case .pin: form.add("pin", "1")
        case .unpin: form.add("unpin", "1")
        case .stop: form.add("stop", "1")
        }
        for path in paths { form.add("path", path) }
        for glob in globs { form.add("glob", glob) }
        return form
    }
}

/// What the socket speaks for. Nothing here waits, and only `status` may take its time.
package protocol AdminSubject: AnyObject, Sendable {
    /// Every metric, now.
    func metrics() -> [MetricSample]
    /// Everything `penstock status` shows: given to the completion, once, by whatever thread.
    func status(_ completion: @escaping @Sendable (StatusDocument) -> Void)
    /// Whether it may be used.
    func readiness() -> Readiness
    /// Begins a prefetch; nil where nothing is prefetched.
    func prefetch(_ order: PrefetchOrder) -> PrefetchDocument?
    /// How far a prefetch is; nil for one that is not known (any more).
    func prefetch(id: Int) -> PrefetchDocument?
}

/// The paths of the socket.
package enum AdminRoutes {
    /// The answer to a request.
    package static func answer(_ request: AdminRequest, _ subject: any AdminSubject) -> AdminAnswer {
        guard request.path == "/status.json", request.method == "GET" else { return .now(reply(request, subject)) }
        return .later { reply in subject.status { reply(json(200, $0)) } }
    }

    private static func reply(_ request: AdminRequest, _ subject: any AdminSubject) -> AdminReply {
        switch request.path {
        case "/healthz": return get(request) { AdminReply(200, "ok") }
        case "/readyz": return get(request) { readiness(subject) }
        case "/metrics":
            return get(request) {
                let text = PrometheusText.text(subject.metrics())
                return AdminReply(200, contentType: PrometheusText.contentType, body: Array(text.utf8))
            }
        case "/status.json": return refused("GET")
        case "/prefetch": return post(request) { prefetch(request, subject) }
        default: break
        }
        let prefix = "/prefetch/"
        if request.path.hasPrefix(prefix), let id = Int(request.path.dropFirst(prefix.count)) {
            return get(request) {
                subject.prefetch(id: id).map { json(200, $0) } ?? AdminReply(404, "there is no prefetch \(id)")
            }
        }
        return AdminReply(404, "here are /metrics, /healthz, /readyz, /status.json and /prefetch")
    }

    private static func get(_ request: AdminRequest, _ reply: () -> AdminReply) -> AdminReply {
        request.method == "GET" ? reply() : refused("GET")
    }

    private static func post(_ request: AdminRequest, _ reply: () -> AdminReply) -> AdminReply {
        request.method == "POST" ? reply() : refused("POST")
    }

    private static func refused(_ allowed: String) -> AdminReply {
        var reply = AdminReply(405, "only \(allowed) works here")
        reply.allowed = allowed
        return reply
    }

    private static func readiness(_ subject: any AdminSubject) -> AdminReply {
        switch subject.readiness() {
        case .ready: AdminReply(200, "ready")
        case .waiting(let reason): AdminReply(503, reason)
        }
    }

    private static func prefetch(_ request: AdminRequest, _ subject: any AdminSubject) -> AdminReply {
        guard let form = FormFields(decoding: request.body) else { return AdminReply(400, "the body is no form") }
        guard let order = PrefetchOrder(form) else {
            return AdminReply(400, "say path= or glob=, again and again, and at most one of pin=1, unpin=1 and stop=1")
        }
        guard let begun = subject.prefetch(order) else {
            return AdminReply(409, "this mount is written to: nothing is prefetched")
        }
        return json(202, begun)
    }

    private static func json(_ status: Int, _ document: some Encodable) -> AdminReply {
        AdminReply(status, contentType: "application/json", body: DocumentJSON.encoded(document) + [0x0A])
    }
}
