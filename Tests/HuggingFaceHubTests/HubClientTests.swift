import HTTPEngine
import LinuxPlatform
import Testing

@testable import HuggingFaceHub

private func info(_ extra: String = "") -> String { #"{"id":"acme/tiny","sha":"\#(sha)"\#(extra)}"# }

@Suite struct CommitTests {
    @Test func resolvesARevision() async throws {
        let transport = ScriptedTransport([
            .json(info(#","private":true,"gated":"auto","disabled":false,"siblings":[]"#))
        ])
        let commit = try await makeClient(transport).commit(of: RepositoryID("acme/tiny"), at: Revision("refs/pr/1"))
        #expect(commit.sha.hex == sha)
        #expect(commit.isPrivate && commit.gating == .automatic && !commit.isDisabled)
        let request = try #require(transport.requests.first)
        #expect(request.url == "\(endpoint)/api/models/acme/tiny/revision/refs%2Fpr%2F1")
        #expect(request.headers["authorization"] == "Bearer hf_secretsecret")
        #expect(request.headers["accept-encoding"] == "identity")
    }

    @Test(arguments: [
        (RepositoryKind.dataset, "/api/datasets/a/b/revision/main"), (.space, "/api/spaces/a/b/revision/main"),
    ])
    func asksByKind(_ kind: RepositoryKind, _ path: String) async throws {
        let transport = ScriptedTransport([.json(#"{"sha":"\#(sha)","gated":false}"#)])
        let commit = try await makeClient(transport).commit(of: RepositoryID("a/b", kind: kind))
        #expect(transport.requests.first?.url == endpoint + path)
        #expect(commit.repository.id == "a/b" && commit.gating == .open)
    }

    @Test func followsARenameWithTheToken() async throws {
        let transport = ScriptedTransport { request, number in
            number == 0
                ? .reply(307, [("Location", "/api/models/new/name/revision/main?x=1")])
                : .json(#"{"id":"new/name","sha":"\#(sha)"}"#)
        }
        let commit = try await makeClient(transport).commit(of: RepositoryID("old/name"))
        #expect(commit.repository.id == "new/name" && commit.requested.id == "old/name")
        #expect(transport.requests.last?.url == "\(endpoint)/api/models/new/name/revision/main?x=1")
        #expect(transport.requests.last?.headers["authorization"] != nil)
    }

    @Test func followsAMirrorToTheHubWithTheToken() async throws {
        let transport = ScriptedTransport { _, number in
            number == 0 ? .reply(308, [("Location", "https://huggingface.co/api/models/a/b")]) : .json(info())
        }
        _ = try await makeClient(transport).commit(of: RepositoryID("a/b"))
        #expect(transport.requests.last?.headers["authorization"] != nil)
    }

    @Test func refusesToTakeAnAPICallElsewhere() async throws {
        let transport = ScriptedTransport([.reply(302, [("Location", "http://evil.test/?x")])])
        let client = try makeClient(transport)
        let error = await hubError { _ = try await client.commit(of: RepositoryID("a/b")) }
        #expect(error?.code == .notAHub)
        #expect(transport.requests.count == 1)
    }

    @Test func boundsRedirects() async throws {
        let transport = ScriptedTransport { _, number in .reply(307, [("Location", "/\(number)")]) }
        let client = try makeClient(transport)
        #expect(await hubError { _ = try await client.commit(of: RepositoryID("a/b")) }?.code == .notAHub)
        #expect(transport.requests.count == 21)
    }

    @Test(arguments: [
        "", "[]", "null", "{}", #"{"sha":5}"#, #"{"sha":"main"}"#,
        #"{"id":"../x","sha":"1110a243fdf4706b3f48f1d95db1a4f5529b4d41"}"#,
    ])
    func refusesOddReplies(_ body: String) async throws {
        let client = try makeClient(ScriptedTransport([.json(body)]))
        let code = await hubError { _ = try await client.commit(of: RepositoryID("a/b")) }?.code
        #expect(code == .notAHub || code == .invalidName)
    }

    @Test func refusesAnotherCommitThanAskedFor() async throws {
        let client = try makeClient(ScriptedTransport([.json(info())]))
        let other = try Revision(String(repeating: "a", count: 40))
        #expect(await hubError { _ = try await client.commit(of: RepositoryID("a/b"), at: other) }?.code == .notAHub)
    }

    @Test func callsAnUnknownGateClosed() async throws {
        let client = try makeClient(ScriptedTransport([.json(info(#","gated":"paywall""#))]))
        #expect(try await client.commit(of: RepositoryID("a/b")).gating == .manual)
    }

    @Test func sendsNothingOffline() async throws {
        let transport = ScriptedTransport([.json(info())])
        let client = try makeClient(transport) { $0.isOffline = true }
        let error = await hubError { _ = try await client.commit(of: RepositoryID("a/b")) }
        #expect(error?.code == .offline)
        #expect(transport.requests.isEmpty)
    }
}

@Suite struct ReferencesTests {
    @Test func listsThem() async throws {
        let body = """
            {"branches":[{"name":"main","ref":"refs/heads/main","targetCommit":"\(sha)"}],
             "converts":[],"tags":[{"name":"v1","ref":"refs/tags/v1","targetCommit":"\(sha)"}],
             "pullRequests":[{"name":"1","ref":"refs/pr/1","targetCommit":"\(sha)"}]}
            """
        let transport = ScriptedTransport([.json(body)])
        let references = try await makeClient(transport).references(
            of: RepositoryID("a/b"),
            includingPullRequests: true
        )
        #expect(references.branches.map(\.name) == ["main"])
        #expect(references.tags.first?.target.hex == sha)
        #expect(references.pullRequests.count == 1)
        #expect(transport.requests.first?.url == "\(endpoint)/api/models/a/b/refs?include_prs=1")
    }
}

@Suite struct ErrorClassificationTests {
    private struct Case: Sendable, CustomTestStringConvertible {
        let status: Int
        let headers: HTTPHeaders
        let body: String
        let code: HubError.Code
        var testDescription: String { "\(status) \(code.rawValue)" }
        init(_ status: Int, _ code: HubError.Code, _ headers: HTTPHeaders = [], _ body: String = "") {
            self.status = status
            self.headers = headers
            self.body = body
            self.code = code
        }
    }

    private static let cases = [
        Case(404, .repositoryNotFound, [("X-Error-Code", "RepoNotFound")]),
        Case(401, .repositoryNotFound, [("X-Error-Code", "RepoNotFound")]),
        Case(401, .repositoryNotFound),
        Case(401, .badToken, [("X-Error-Message", "Invalid credentials in Authorization header")]),
        Case(401, .badToken, [], #"{"error":"Invalid credentials in Authorization header"}"#),
        Case(404, .revisionNotFound, [("X-Error-Code", "RevisionNotFound")]),
        Case(404, .entryNotFound, [("X-Error-Code", "EntryNotFound")]),
        Case(401, .gated, [("X-Error-Code", "GatedRepo")]),
        Case(403, .gated, [("X-Error-Code", "GatedRepo")]),
        Case(403, .disabled, [("X-Error-Message", "Access to this resource is disabled.")]),
        Case(403, .forbidden),
        Case(400, .invalidRequest, [], "bad cursor"),
        Case(404, .repositoryNotFound, [], "<html>nginx</html>"),
        Case(418, .invalidRequest),
    ]

    @Test(arguments: cases)
    private func classifies(_ given: Case) async throws {
        let transport = ScriptedTransport([.reply(given.status, given.headers, Array(given.body.utf8))])
        let client = try makeClient(transport)
        let error = await hubError { _ = try await client.commit(of: RepositoryID("a/b")) }
        #expect(error?.code == given.code)
        #expect(error?.status == given.status)
        #expect(error?.message.contains("<html>") == false)
        #expect(transport.requests.count == 1, "permanent errors are not repeated")
    }

    @Test func namesTheRequestAndTheObject() async throws {
        let headers: HTTPHeaders = [("X-Request-Id", "Root=1-abc;def"), ("X-Error-Code", "RevisionNotFound")]
        let client = try makeClient(ScriptedTransport([.reply(404, headers)]))
        let error = try #require(
            await hubError { _ = try await client.commit(of: RepositoryID("a/b"), at: Revision("nope")) }
        )
        #expect(error.description.contains("a/b@nope") && error.description.contains("[request Root=1-abc;def]"))
    }

    @Test(arguments: [
        (#"{"error":"one"}"#, "one"), (#"{"error":["one","two"]}"#, "one; two"),
        (#"{"error":"code","error_description":"text"}"#, "code: text"), (#"{"errors":[{"message":"deep"}]}"#, "deep"),
        ("plain text", "plain text"),
    ])
    func readsTheServersWords(_ body: String, _ expected: String) {
        #expect(serverMessage([], Array(body.utf8)) == expected)
    }

    @Test(arguments: ["<!doctype html><html>", "{\"other\":1}", "", "[1"])
    func repeatsNoMarkup(_ body: String) {
        #expect(serverMessage([], Array(body.utf8)) == nil)
    }

    @Test func cutsSecretsOutOfTheServersWords() {
        let said = serverMessage([("X-Error-Message", "token hf_abcdef at https://x.test/f?sig=1 \u{1B}[31m")], [])
        #expect(said == "token hf_*** at https://x.test/f?*** [31m")
    }

    @Test func saysThatATokenMayHelp() async throws {
        let client = try makeClient(ScriptedTransport([.reply(401, [("X-Error-Code", "GatedRepo")])]), token: nil)
        #expect(
            await hubError { _ = try await client.commit(of: RepositoryID("a/b")) }?.message.contains("HF_TOKEN")
                == true
        )
    }
}

@Suite struct RetryTests {
    @Test(arguments: [408, 500, 502, 503, 504])
    func repeatsWhatIsTransient(_ status: Int) async throws {
        let clock = SleepClock()
        let transport = ScriptedTransport { _, number in number < 2 ? .reply(status) : .json(info()) }
        _ = try await makeClient(transport, clock: clock).commit(of: RepositoryID("a/b"))
        #expect(transport.requests.count == 3)
        #expect(clock.sleeps == [.milliseconds(500), .seconds(1)])
    }

    @Test(arguments: [HTTPFailure.Code.connect, .connectionLost, .firstByteTimeout, .stalled, .resolve, .bodyTooShort])
    func repeatsLostConnections(_ code: HTTPFailure.Code) async throws {
        let transport = ScriptedTransport { _, number in number < 1 ? .failure(code) : .json(info()) }
        _ = try await makeClient(transport).commit(of: RepositoryID("a/b"))
        #expect(transport.requests.count == 2)
    }

    @Test func doesNotRepeatAnUntrustedPeer() async throws {
        let transport = ScriptedTransport([.failure(.tls)])
        let client = try makeClient(transport)
        #expect(await hubError { _ = try await client.commit(of: RepositoryID("a/b")) }?.code == .untrusted)
        #expect(transport.requests.count == 1)
    }

    @Test func givesUpAfterItsAttempts() async throws {
        let transport = ScriptedTransport([.reply(503, [("X-Request-Id", "r1")])])
        let client = try makeClient(transport)
        let error = await hubError { _ = try await client.commit(of: RepositoryID("a/b")) }
        #expect(error?.code == .unavailable && error?.message.contains("Gave up after 6 attempts") == true)
        #expect(transport.requests.count == 6)
    }

    @Test func obeysRetryAfterOf503() async throws {
        let clock = SleepClock()
        let transport = ScriptedTransport { _, number in
            number < 1 ? .reply(503, [("Retry-After", "9")]) : .json(info())
        }
        _ = try await makeClient(transport, clock: clock).commit(of: RepositoryID("a/b"))
        #expect(clock.sleeps == [.seconds(9)])
    }

    @Test func waitsOutARateLimitAndSaysSo() async throws {
        let clock = SleepClock()
        let waits = Lock<[RateLimitWait]>([])
        let transport = ScriptedTransport { _, number in
            number < 1 ? .reply(429, [("RateLimit", "\"api\";r=0;t=54")]) : .json(info())
        }
        let observer = HubObserver(onWait: { wait in waits.withLock { $0.append(wait) } })
        _ = try await makeClient(transport, clock: clock, observer: observer).commit(of: RepositoryID("a/b"))
        #expect(clock.sleeps == [.seconds(55)])
        let told = waits.withLock { $0 }
        #expect(told.count == 1 && told.first?.bucket == .api && told.first?.isAnonymous == false)
        #expect(told.first?.until == clock.start.advanced(by: .seconds(55)))
    }

    @Test func doesNotWaitPastItsDeadline() async throws {
        let transport = ScriptedTransport([.reply(429, [("RateLimit", "\"api\";r=0;t=299")])])
        let client = try makeClient(transport, token: nil) { $0.callDeadline = .seconds(60) }
        let error = await hubError { _ = try await client.commit(of: RepositoryID("a/b")) }
        #expect(error?.code == .rateLimited && error?.message.contains("HF_TOKEN") == true)
        #expect(transport.requests.count == 1)
    }

    @Test func tellsEachWarningOnce() async throws {
        let heard = Lock<[String]>([])
        let headers: HTTPHeaders = [("X-HF-Warning", "auth; use a token"), ("X-HF-Warning", "no topic")]
        let observer = HubObserver(onWarning: { topic, text in heard.withLock { $0.append("\(topic)|\(text)") } })
        let client = try makeClient(ScriptedTransport([.json(info(), headers)]), observer: observer)
        for _ in 0..<3 { _ = try await client.commit(of: RepositoryID("a/b")) }
        #expect(heard.withLock { $0 } == ["auth|use a token", "|no topic"])
    }
}
