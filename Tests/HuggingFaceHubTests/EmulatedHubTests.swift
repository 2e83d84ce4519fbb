import Checksums
import Emulators
import LinuxPlatform
import ObjectStorage
import Telemetry
import Testing

@testable import HuggingFaceHub

private let small: [String: [UInt8]] = [
    "config.json": Array(#"{"a":1}"#.utf8), "a b#1/ü%.txt": Array("Hello, World!".utf8), "empty": [],
    "model.safetensors": pattern(300_000),
]

@Suite struct EmulatedHubTests {
    @Test func conveysEveryFileWithItsHash() async throws {
        let hub = try EmulatedHub(small)
        let client = try hub.client()
        let commit = try await client.commit(of: RepositoryID("acme/tiny"))
        let files = try await client.tree(of: commit)
        #expect(files.map(\.path.value) == ["a b#1/ü%.txt", "config.json", "empty", "model.safetensors"])
        for file in files {
            let bytes = try await readWhole(client.source(for: file, in: commit), piece: 100_000)
            #expect(bytes == small[file.path.value])
            switch file.hash {
            case .sha256(let expected): #expect(SHA256Digest.of(bytes) == expected)
            case .gitSHA1(let expected): #expect(SHA1Digest.ofGitBlob(bytes) == expected)
            }
        }
        #expect(files.first { $0.isLFS }?.path.value == "model.safetensors")
        hub.finish()
        #expect(hub.emulator.mediaBytes(hub.name, "model.safetensors") == 300_000, "no byte was fetched twice")
        // The published vector of git's name for these bytes.
        #expect(files[0].hash.hex == "b45ef6fec89518d314f546fd6c3025367b721684")
    }

    @Test func sendsTheTokenToTheHubOnly() async throws {
        let hub = try EmulatedHub(small)
        hub.emulator.configure { $0.storageHost = "localhost" }
        let client = try hub.client(token: "hf_onlyforthehub")
        let commit = try await client.commit(of: RepositoryID("acme/tiny"))
        for file in try await client.tree(of: commit) { _ = try await readWhole(client.source(for: file, in: commit)) }
        hub.finish()
        let log = hub.emulator.control.log
        #expect(log.contains { $0.server == "cdn" })
        #expect(log.allSatisfy { ($0.authorization != nil) == ($0.server == "hub") })
    }

    @Test func followsPagesOfAnySize() async throws {
        var files: [String: [UInt8]] = [:]
        for index in 0..<25 { files["d\(index % 4)/f\(index)"] = [UInt8(index)] }
        for size in [1, 3, 7, 29, 1000] {
            let hub = try EmulatedHub(files)
            hub.emulator.configure { $0.pageSize = size }
            let client = try hub.client()
            let listed = try await client.tree(of: client.commit(of: RepositoryID("acme/tiny")))
            #expect(listed.count == 25)
            #expect(Set(listed.map(\.path.value)) == Set(files.keys))
        }
    }

    @Test func followsARename() async throws {
        let hub = try EmulatedHub(small)
        hub.emulator.change(hub.name) { $0.formerNames = ["old/name", "oldest"] }
        let client = try hub.client(token: "hf_x")
        for former in ["old/name", "oldest"] {
            let commit = try await client.commit(of: RepositoryID(former))
            #expect(commit.repository.id == "acme/tiny" && commit.requested.id == former)
        }
    }

    @Test func keepsToTheCommitWhenTheBranchMoves() async throws {
        let hub = try EmulatedHub(small)
        let client = try hub.client()
        let old = try await client.commit(of: RepositoryID("acme/tiny"))
        try hub.add(Array("changed".utf8), "models/acme/tiny-v2/config.json")
        let newer = String(repeating: "a", count: 40)
        hub.emulator.change(hub.name) { settings in
            settings.commits[newer] = "../tiny-v2"
            settings.branches["main"] = newer
            settings.tags["v1"] = old.sha.hex
        }
        #expect(try await client.commit(of: RepositoryID("acme/tiny")).sha.hex == newer)
        #expect(try await client.commit(of: RepositoryID("acme/tiny"), at: Revision("v1")).sha == old.sha)
        let file = try #require(try await client.tree(of: old).first { $0.path.value == "config.json" })
        #expect(try await readWhole(client.source(for: file, in: old)) == small["config.json"])
    }

    @Test func tellsMissingThingsApart() async throws {
        let hub = try EmulatedHub(small)
        let client = try hub.client(token: "hf_x")
        let anonymous = try hub.client()
        #expect(await hubError { _ = try await client.commit(of: RepositoryID("acme/none")) }?.status == 404)
        #expect(
            await hubError { _ = try await client.commit(of: RepositoryID("acme/none")) }?.code == .repositoryNotFound
        )
        #expect(await hubError { _ = try await anonymous.commit(of: RepositoryID("acme/none")) }?.status == 401)
        let nope = try Revision("nope")
        #expect(
            await hubError { _ = try await client.commit(of: RepositoryID("acme/tiny"), at: nope) }?.code
                == .revisionNotFound
        )
        let commit = try await client.commit(of: RepositoryID("acme/tiny"))
        let ghost = HubFile(path: try SafePath("ghost"), size: 5, gitOID: SHA1Digest.ofGitBlob([]))
        await #expect(throws: ObjectStoreError.self) { try await readWhole(client.source(for: ghost, in: commit)) }
    }

    @Test func respectsGates() async throws {
        let hub = try EmulatedHub(small)
        hub.emulator.change(hub.name) { settings in
            settings.gated = "manual"
            settings.readers = ["hf_granted"]
        }
        for (token, allowed) in [(nil, false), ("hf_other", false), ("hf_granted", true)] as [(String?, Bool)] {
            let client = try hub.client(token: token)
            let commit = try await client.commit(of: RepositoryID("acme/tiny"))
            #expect(commit.gating == .manual)
            let error = await hubError { try await client.checkAccess(to: commit) }
            #expect((error == nil) == allowed && (allowed || error?.code == .gated))
            let file = try #require(try await client.tree(of: commit).last)
            let bytes = try? await readWhole(client.source(for: file, in: commit))
            #expect((bytes != nil) == allowed)
        }
    }

    @Test func seesPrivateAndDisabledRepositoriesAsTheyAre() async throws {
        let hub = try EmulatedHub(small)
        hub.emulator.change(hub.name) { $0.isPrivate = true }
        let anonymous = try hub.client()
        #expect(
            await hubError { _ = try await anonymous.commit(of: RepositoryID("acme/tiny")) }?.code
                == .repositoryNotFound
        )
        let commit = try await hub.client(token: "hf_x").commit(of: RepositoryID("acme/tiny"))
        #expect(commit.isPrivate)
        hub.emulator.change(hub.name) { $0.isDisabled = true }
        let client = try hub.client(token: "hf_x")
        let later = try await client.commit(of: RepositoryID("acme/tiny"))
        #expect(await hubError { try await client.checkAccess(to: later) }?.code == .disabled)
    }

    @Test func tellsABadToken() async throws {
        let hub = try EmulatedHub(small)
        hub.emulator.configure { $0.knownTokens = ["hf_good"] }
        #expect(
            await hubError { _ = try await hub.client(token: "hf_bad").commit(of: RepositoryID("acme/tiny")) }?.code
                == .badToken
        )
        _ = try await hub.client(token: "hf_good").commit(of: RepositoryID("acme/tiny"))
    }

    @Test func listsReferencesOfEachKind() async throws {
        let hub = try EmulatedHub(small)
        try hub.add([1], "datasets/acme/corpus/data.parquet")
        let client = try hub.client()
        let corpus = try RepositoryID("acme/corpus", kind: .dataset)
        let commit = try await client.commit(of: corpus)
        let references = try await client.references(of: corpus)
        #expect(references.branches.map(\.name) == ["main"] && references.branches.first?.target == commit.sha)
        #expect(try await client.tree(of: commit).map(\.path.value) == ["data.parquet"])
    }

    @Test func getsNewURLsWhenTheyExpire() async throws {
        let hub = try EmulatedHub(small)
        let client = try hub.client()
        let commit = try await client.commit(of: RepositoryID("acme/tiny"))
        let file = try #require(try await client.tree(of: commit).last)
        let source = client.source(for: file, in: commit)
        let buffer = BufferLease(size: 100_000)
        for index in 0..<3 {
            try await source.read(RangeRead(ByteRange(offset: index * 100_000, count: 100_000), into: buffer))
            hub.emulator.expireSignedURLs()
        }
        hub.finish()
        #expect(hub.emulator.control.log.filter { $0.status == 403 }.count == 2)
        #expect(hub.emulator.mediaBytes(hub.name, "model.safetensors") == 300_000)
    }

    @Test func countsWhatItDoes() async throws {
        let hub = try EmulatedHub(small)
        let registry = MetricRegistry()
        let configuration = try HubConfiguration(endpoint: hub.emulator.baseURL)
        let client = try HubClient(configuration: configuration, transport: hub.engine, metrics: registry)
        let commit = try await client.commit(of: RepositoryID("acme/tiny"))
        let file = try #require(try await client.tree(of: commit).last)
        let source = client.source(for: file, in: commit)
        _ = try await readWhole(source)
        hub.emulator.expireSignedURLs()
        _ = try await readWhole(source)
        let counted = registry.snapshot().map { "\($0.description.name) \($0.value)" }
        let expected = [
            "hub_bytes_total number(600000)", "hub_rate_limit_pauses_total number(0)",
            "hub_requests_total number(7)", "hub_retries_total number(0)",
            "hub_url_refreshes_total number(1)",
        ]
        #expect(counted == expected)
        hub.finish()
        #expect(hub.emulator.control.log.count == 7)
    }

    @Test func keepsToTheQuota() async throws {
        let hub = try EmulatedHub(small)
        hub.emulator.configure { $0.rateLimits["api"] = HubQuota.Limit(requests: 1, windowSeconds: 300) }
        let hurried = { (configuration: inout HubConfiguration) in configuration.callDeadline = .seconds(30) }
        let client = try hub.client(change: hurried)
        _ = try await client.commit(of: RepositoryID("acme/tiny"))
        // Its own count holds the next request back; another client is told by the Hub.
        #expect(await hubError { _ = try await client.commit(of: RepositoryID("acme/tiny")) }?.code == .rateLimited)
        let other = try hub.client(change: hurried)
        #expect(await hubError { _ = try await other.commit(of: RepositoryID("acme/tiny")) }?.code == .rateLimited)
        hub.finish()
        #expect(hub.emulator.control.log.map(\.status) == [200, 429])
    }
}

@Suite struct FaultyHubTests {
    /// Reads `model.safetensors` while one request of the storage host goes wrong.
    private func read(under actions: FaultActions, times: Int? = 1) async throws -> Result<[UInt8], ObjectStoreError> {
        let hub = try EmulatedHub(small)
        let client = try hub.client()
        let commit = try await client.commit(of: RepositoryID("acme/tiny"))
        let file = try #require(try await client.tree(of: commit).last)
        var rule = FaultRule(actions, method: "GET")
        rule.server = "cdn"
        rule.times = times
        hub.emulator.control.add(rule)
        do {
            return .success(try await readWhole(client.source(for: file, in: commit), piece: 150_000))
        } catch let error as ObjectStoreError {
            return .failure(error)
        }
    }

    private func code(_ result: Result<[UInt8], ObjectStoreError>) -> ObjectStoreError.Code? {
        if case .failure(let error) = result { return error.code }
        return nil
    }

    @Test func resumesATruncatedBody() async throws {
        let result = try await read(under: .sending { $0.truncateAt = 70_000 })
        #expect(try result.get() == small["model.safetensors"])
    }

    @Test func resumesAfterAReset() async throws {
        let cut = FaultActions.sending { faults in
            faults.truncateAt = 10_000
            faults.resets = true
        }
        #expect(try await read(under: cut, times: 3).get() == small["model.safetensors"])
    }

    @Test func repeatsA503() async throws {
        #expect(try await read(under: .answer(503), times: 2).get() == small["model.safetensors"])
    }

    @Test func refusesAServerThatIgnoresRanges() async throws {
        var actions = FaultActions()
        actions.ignoresRange = true
        #expect(code(try await read(under: actions)) == .unsupported)
    }

    @Test func refusesGzip() async throws {
        var actions = FaultActions()
        actions.wrongBody = .gzip
        #expect(code(try await read(under: actions)) == .integrity)
    }

    @Test func repeatsWhereAnHTMLPageCame() async throws {
        var actions = FaultActions()
        actions.wrongBody = .html
        #expect(try await read(under: actions).get() == small["model.safetensors"])
        #expect(code(try await read(under: actions, times: nil)) == .unavailable)
    }

    @Test func refusesAWrongRange() async throws {
        var actions = FaultActions()
        actions.replaceHeaders = ["Content-Range": "bytes 1-150000/300000"]
        #expect(code(try await read(under: actions)) == .integrity)
    }

    @Test func endsOnAPermanentRefusal() async throws {
        let actions = FaultActions.answer(403, body: "Auth failed: invalid range")
        guard case .failure(let error) = try await read(under: actions, times: nil) else {
            Issue.record("the read succeeded")
            return
        }
        #expect(error.code == .forbidden && error.message.contains("Auth failed: invalid range"))
    }
}
