import Checksums
import Emulators
import Foundation
import Testing

extension ConveyanceProof {
    /// What the world outside gets wrong: a clear message, the documented exit code, nothing lost.
    @Suite struct BadInputTests {
        static let repository = "acme/odd"
        static let files = ModelFiles(
            seed: 5,
            ["model.safetensors": 20 << 20, "tokenizer.json": 300_000, "config.json": 400]
        )

        let servers: EmulatedServers
        let command = ConveyanceProof.arguments(repository, "odd")

        init() throws {
            servers = try EmulatedServers()
            try Self.files.write(to: servers.directory(of: Self.repository))
            servers.hub.warm()
        }

        var name: HubRepositoryName { HubRepositoryName(Self.repository) }

        func arm(_ server: String, _ actions: FaultActions, path: String, times: Int? = nil, nth: Int = 1) {
            var rule = FaultRule(actions, path: path)
            rule.server = server
            rule.times = times
            rule.nth = nth
            servers.control.add(rule)
        }

        /// It ends with this code and these words, and no file of the snapshot is there.
        func expectRefusal(_ arguments: [String], _ status: Int32, _ words: [String]) async throws {
            let ended = try await servers.run(arguments)
            #expect(ended.status == status, "\(ended)")
            for word in words { #expect(ended.errors.contains(word), "'\(word)' is missing: \(ended)") }
            let names = try await servers.bucket.names("odd/")
            #expect(names.filter { !$0.hasPrefix("odd/.penstock/") || $0.hasSuffix("manifest.json") } == [])
        }

        func expectConveyed(_ ended: EndedProgram) async throws {
            #expect(ended.status == 0, "\(ended)")
            try await Self.files.expectConveyed(to: servers.bucket, "odd")
        }
    }
}

// MARK: - Who and where

extension ConveyanceProof.BadInputTests {
    @Test func aGatedRepository() async throws {
        servers.hub.change(name) { $0.gated = "manual" }
        try await expectRefusal(command, 4, [Self.repository])
    }

    @Test func aMissingRepository() async throws {
        try await expectRefusal(ConveyanceProof.arguments("acme/nothing", "odd"), 4, ["acme/nothing"])
    }

    @Test func aMissingRevision() async throws {
        try await expectRefusal(command + ["--revision", "no-such-branch"], 4, ["no-such-branch"])
    }

    @Test func aMissingBucket() async throws {
        var elsewhere = command
        elsewhere[2] = "gs://no-such-bucket/odd"
        try await expectRefusal(elsewhere, 4, ["gs://no-such-bucket", "bucket"])
    }

    @Test func aBucketThatMayOnlyBeRead() async throws {
        arm(
            "gcs",
            .answer(403, body: #"{"error":{"code":403,"message":"no storage.objects.create"}}"#),
            path: "/upload/"
        )
        try await expectRefusal(command, 5, ["gs://ai-models/odd"])
        #expect(servers.fetchedBytes == 0, "it is known before the first byte moves")
    }

    @Test func aPatternThatMatchesNothing() async throws {
        try await expectRefusal(command + ["--include", "*.gguf"], 2, ["*.gguf"])
    }

    @Test(arguments: [
        ["snapshot"], ["snapshot", "acme/odd", "s3://bucket/odd"], ["snapshot", "acme/odd", "gs://ai-models/../x"],
        ["snapshot", "../odd", "gs://ai-models/odd"], ["snapshot", "acme/odd", "gs://ai-models/odd", "--memory", "x"],
    ])
    func wordsThatMakeNoSense(arguments: [String]) async throws { try await expectRefusal(arguments, 2, []) }

    @Test func objectsOfAStrangerAreLeftAlone() async throws {
        let theirs = Data("not a model".utf8)
        try await servers.bucket.put("odd/model.safetensors", theirs)
        let ended = try await servers.run(command)
        #expect(ended.status == 2, "\(ended)")
        #expect(ended.errors.contains("model.safetensors") && ended.errors.contains("--overwrite"), "\(ended)")
        #expect(servers.fetchedBytes == 0)
        #expect(try await servers.bucket.names("odd/") == ["odd/model.safetensors"])
        #expect(try await servers.bucket.contents("odd/model.safetensors") == theirs)
        try await expectConveyed(try await servers.run(command + ["--overwrite"]))
    }

    @Test func objectsOfAStrangerThatAreTheSameAreAdopted() async throws {
        try await servers.bucket.put("odd/model.safetensors", try #require(Self.files.contents["model.safetensors"]))
        try await expectConveyed(try await servers.run(command))
        let weights = servers.hub.mediaBytes(name, "model.safetensors")
        #expect(weights == 0, "what is there is read back, not fetched")
    }

    @Test func aManifestOfANewerVersionIsNotTouched() async throws {
        let content = #"{"formatVersion":99,"novelty":true"#
        let seal = SHA256Digest.of(Array((content + "}").utf8)).description
        let manifest = Data("\(content),\"sha256\":\"\(seal)\"}\n".utf8)
        try await servers.bucket.put("odd/.penstock/manifest.json", manifest)
        let ended = try await servers.run(command)
        #expect(ended.status == 3, "\(ended)")
        #expect(ended.errors.contains("newer"), "\(ended)")
        #expect(try await servers.bucket.names("odd/") == ["odd/.penstock/manifest.json"])
        let verified = try await servers.run(ConveyanceProof.verify("odd"))
        #expect(verified.status == 3 && verified.errors.contains("newer"), "\(verified)")
    }
}

// MARK: - What the Hub says

extension ConveyanceProof.BadInputTests {
    @Test(arguments: ["../outside", "/etc/passwd", "a//b", "a/../../b", "nul\\u0000"])
    func namesThatLeaveTheDestination(path: String) async throws {
        let oid = String(repeating: "a", count: 40)
        let entry = #"[{"type":"file","oid":"\#(oid)","size":3,"path":"\#(path)"}]"#
        arm("hub", .answer(200, headers: ["Content-Type": "application/json"], body: entry), path: "/tree/")
        let shown = path.replacing("\\u0000", with: "?")
        try await expectRefusal(command, 3, [Self.repository, "'\(shown)' cannot be used as a name"])
        #expect(try await servers.bucket.names("") == [])
    }

    @Test func namesThatAreOurs() async throws {
        let ours = ModelFiles(seed: 51, [".penstock/manifest.json": 3, "config.json": 5])
        try ours.write(to: servers.directory(of: Self.repository))
        try await expectRefusal(command, 2, [".penstock/manifest.json", "--exclude"])
        let rest = try await servers.run(command + ["--exclude", ".penstock/*"])
        #expect(rest.status == 0, "\(rest)")
    }

    @Test(arguments: ["", "[", "{}", "[1]", "<html></html>"]) func aListingThatIsNone(body: String) async throws {
        arm("hub", .answer(200, headers: ["Content-Type": "application/json"], body: body), path: "/tree/")
        try await expectRefusal(command, 3, [Self.repository, "listing"])
    }

    @Test(arguments: [FaultActions.WrongBody.gzip, .empty]) func contentThatIsNone(
        wrong: FaultActions.WrongBody
    ) async throws {
        var actions = FaultActions()
        actions.wrongBody = wrong
        arm("cdn", actions, path: "/")
        try await expectRefusal(command, 3, ["model.safetensors"])
    }

    @Test func aRangeThatWasNotAskedFor() async throws {
        var actions = FaultActions()
        actions.ignoresRange = true
        arm("cdn", actions, path: "/")
        try await expectRefusal(command, 3, ["model.safetensors"])
    }

    @Test func aBranchThatMovesMeanwhile() async throws {
        let old = try #require(servers.hub.warm()[name])
        let newer = ModelFiles(seed: 50, ["model.safetensors": 12 << 20, "config.json": 10])
        try newer.write(to: servers.root.appending(path: "newer"))
        let wire = try servers.tripWire(.media, nth: 2, carriedOut: true, hangs: .seconds(1))
        let running = try servers.start(command)
        try #require(try await eventually(within: .seconds(120)) { wire.isTripped || !running.isRunning })
        let next = String(repeating: "b", count: 40)
        servers.hub.change(name) { settings in
            settings.commits[next] = servers.root.appending(path: "newer").path
            settings.branches["main"] = next
        }
        try await expectConveyed(try await running.ended())
        let manifest = try await servers.bucket.contents("odd/.penstock/manifest.json")
        #expect(String(decoding: manifest, as: UTF8.self).contains(old))
        let updated = try await servers.run(command + ["--prune", "--keep-replaced", "0s"])
        #expect(updated.status == 0, "\(updated)")
        try await newer.expectConveyed(to: servers.bucket, "odd", "after the update")
    }

    @Test func signedURLsThatExpireMeanwhile() async throws {
        let wire = try servers.tripWire(.media, nth: 3, carriedOut: true, hangs: .milliseconds(300))
        let running = try servers.start(command)
        try #require(try await eventually(within: .seconds(120)) { wire.isTripped || !running.isRunning })
        servers.hub.expireSignedURLs()
        try await expectConveyed(try await running.ended())
        #expect(servers.control.log.contains { $0.server == "cdn" && $0.status == 403 }, "one was refused")
        #expect(servers.fetchedBytes == Self.files.distinctSize)
    }

    @Test func aRateLimitIsWaitedFor() async throws {
        servers.hub.configure { $0.rateLimits["resolvers"] = HubQuota.Limit(requests: 2, windowSeconds: 1) }
        try await expectConveyed(try await servers.run(command))
        #expect(servers.control.log.contains { $0.server == "hub" && $0.status == 429 } || waited)
    }

    /// The client may also read its quota in advance and wait without being refused.
    private var waited: Bool {
        let resolves = servers.control.log.filter { $0.target.contains("/resolve/") }
        return resolves.count > 1 && resolves.allSatisfy { $0.status < 400 }
    }

    @Test func aTokenThatIsRevokedMeanwhile() async throws {
        let wire = try servers.tripWire(.media, nth: 3, carriedOut: true, hangs: .milliseconds(300))
        let running = try servers.start(command, environment: ["HF_TOKEN": "hf_revoked"])
        try #require(try await eventually(within: .seconds(120)) { wire.isTripped || !running.isRunning })
        servers.hub.configure { $0.knownTokens = ["hf_another"] }
        servers.hub.expireSignedURLs()
        let ended = try await running.ended()
        #expect(ended.status == 5, "\(ended)")
        #expect(try await servers.bucket.names("odd/").allSatisfy { $0.hasPrefix("odd/.penstock/") })
        // With a new one it goes on from there.
        try await expectConveyed(try await servers.run(command, environment: ["HF_TOKEN": "hf_another"]))
        #expect(servers.fetchedBytes <= Self.files.distinctSize + 16 << 20)
    }

    @Test(arguments: [true, false]) func storageCredentialsThatExpireMeanwhile(areRenewed: Bool) async throws {
        let tokens = servers.gcs.tokens
        let file = servers.root.appending(path: "token")
        let old = tokens.issue()
        try Data(old.utf8).write(to: file)
        tokens.isRequired = true
        let withToken = command + ["--access-token-file", file.path]
        let wire = try servers.tripWire(.media, nth: 3, carriedOut: true, hangs: .milliseconds(500))
        let running = try servers.start(withToken)
        try #require(try await eventually(within: .seconds(120)) { wire.isTripped || !running.isRunning })
        // Whoever keeps the file writes the new token before the old one is refused.
        if areRenewed { try Data(tokens.issue().utf8).write(to: file, options: .atomic) }
        tokens.expire(old)
        let ended = try await running.ended()
        #expect(ended.status == (areRenewed ? 0 : 5), "\(ended)")
        if !areRenewed { #expect(servers.control.log.contains { $0.server == "gcs" && $0.status == 401 }) }
        try Data(tokens.issue().utf8).write(to: file, options: .atomic)
        let again = try await servers.run(withToken)
        tokens.isRequired = false
        try await expectConveyed(again)
    }
}
