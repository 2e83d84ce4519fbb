import Emulators
import Foundation
import Testing

// More of what the world outside gets wrong: bodies that are something else, names that cannot stand, records that were
// cut short, listings that are none.

// MARK: - Bodies

extension ConveyanceProof.BadInputTests {
    /// A small file comes whole from the Hub, a large one in ranges from its storage host.
    @Test(arguments: [-1, 1]) func aBodyOfAnotherLength(difference: Int) async throws {
        let body = String(repeating: "x", count: 400 + difference)
        var rule = FaultRule(.answer(200, body: body))
        rule.server = "hub"
        rule.pattern = PathPattern("/resolve-cache/.*/config[.]json")
        rule.times = nil
        servers.control.add(rule)
        try await expectRefusal(command, 3, ["config.json", "400 bytes", "\(400 + difference)"])
    }

    @Test(arguments: [-1, 1]) func aRangeOfAnotherLength(difference: Int) async throws {
        let (total, count) = (20 << 20, 1000 + difference)
        let headers: HeaderFields = ["Content-Range": "bytes 0-999/\(total)"]
        arm("cdn", .answer(206, headers: headers, body: String(repeating: "x", count: count)), path: "/")
        try await expectRefusal(command, 3, ["model.safetensors"])
    }

    @Test func anotherRangeThanWasAskedFor() async throws {
        var actions = FaultActions()
        actions.replaceHeaders = ["Content-Range": "bytes 64-1048639/\(20 << 20)"]
        arm("cdn", actions, path: "/")
        try await expectRefusal(command, 3, ["model.safetensors", "asked for bytes=", "was sent bytes 64-"])
    }

    @Test func aPointerInsteadOfTheContent() async throws {
        let pointer =
            "version https://git-lfs.github.com/spec/v1\noid sha256:\(String(repeating: "0", count: 64))\nsize 9\n"
        arm("cdn", .answer(200, body: pointer), path: "/")
        try await expectRefusal(command, 3, ["model.safetensors", "LFS pointer"])
    }

    @Test(arguments: ["hub", "cdn"]) func aPageOfHTMLIsNoContent(server: String) async throws {
        // As a gateway sends it for a moment: it is not stored, and asked again.
        var actions = FaultActions()
        actions.wrongBody = .html
        arm(server, actions, path: server == "hub" ? "/resolve-cache/" : "/", times: 2)
        try await expectConveyed(try await servers.run(command))
    }
}

// MARK: - Names

extension ConveyanceProof.BadInputTests {
    private func listing(_ paths: [String]) -> String {
        let oid = String(repeating: "a", count: 40)
        return "["
            + paths.map { #"{"type":"file","oid":"\#(oid)","size":3,"path":"\#($0)"}"# }.joined(separator: ",")
            + "]"
    }

    private static let longPath = (0..<4).map { "\($0)" + String(repeating: "d", count: 249) }.joined(separator: "/")

    @Test(arguments: [
        (["a", "a/b"], 3, "'a' is both a file and a directory"), (["a", "a"], 3, "'a' stands in it twice"),
        (["x/" + String(repeating: "n", count: 256)], 3, "more than 255 bytes"),
        ([longPath + "/" + longPath], 3, "more than 1024"), ([#"a\u001b[2Jb"#], 3, "a?[2Jb"),
        // Not too long for a repository, but with the destination before it.
        ([longPath + "/" + String(repeating: "f", count: 18)], 2, "more than 1024"),
    ])
    func namesThatCannotStand(paths: [String], status: Int32, words: String) async throws {
        arm(
            "hub",
            .answer(200, headers: ["Content-Type": "application/json"], body: listing(paths)),
            path: "/tree/"
        )
        try await expectRefusal(command, status, [words])
        #expect(servers.fetchedBytes == 0)
        #expect(try await servers.bucket.names("") == [])
    }

    @Test func aFileOfAStrangerWhereADirectoryMustBe() async throws {
        let nested = ModelFiles(seed: 52, ["config.json/nested.json": 20])
        try nested.write(to: servers.directory(of: Self.repository))
        try await servers.bucket.put("odd/config.json", Data("theirs".utf8))
        let ended = try await servers.run(command)
        #expect(ended.status == 2 && ended.errors.contains("config.json exists as a file"), "\(ended)")
        #expect(try await servers.bucket.names("") == ["odd/config.json"])
    }
}

// MARK: - JSON

extension ConveyanceProof.BadInputTests {
    @Test(arguments: ["", "[]", "{\"sha\":5}", "{\"sha\":\"main\"}", "<html></html>"])
    func aRevisionThatIsNone(body: String) async throws {
        arm("hub", .answer(200, headers: ["Content-Type": "application/json"], body: body), path: "/revision/")
        try await expectRefusal(command, 3, [Self.repository])
    }

    @Test func aPageThatIsTooLarge() async throws {
        let body = "[" + String(repeating: " ", count: 33 << 20) + "]"
        arm("hub", .answer(200, headers: ["Content-Type": "application/json"], body: body), path: "/tree/")
        try await expectRefusal(command, 3, [Self.repository, "longer"])
    }

    @Test(arguments: ["", "[]", #"{"items":{}}"#, #"{"items":[{"name":"odd/x"}]}"#, "<html></html>"])
    func aListingOfTheBucketThatIsNone(body: String) async throws {
        var rule = FaultRule(.answer(200, headers: ["Content-Type": "application/json"], body: body), path: "/o?")
        rule.server = "gcs"
        rule.method = "GET"
        servers.control.add(rule)
        try await expectRefusal(command, 3, ["gs://ai-models"])
    }

    @Test(arguments: [0, 1, 100, -1]) func aManifestThatWasCutShort(length: Int) async throws {
        try await expectConveyed(try await servers.run(command))
        let whole = try await servers.bucket.contents("odd/.penstock/manifest.json")
        try await servers.bucket.put(
            "odd/.penstock/manifest.json",
            whole.prefix(length < 0 ? whole.count + length : length)
        )
        let place = "gs://ai-models/odd"
        for arguments in [
            command, ConveyanceProof.verify("odd"), ["mount", place, try emptyDirectory()], ["ls", place],
        ] {
            let ended = try await servers.run(arguments)
            #expect(ended.status == 3 && ended.errors.contains("manifest"), "\(arguments[0]): \(ended)")
        }
        try await expectConveyed(try await servers.run(command + ["--rebuild-manifest"]))
    }

    private func emptyDirectory() throws -> String {
        let directory = servers.root.appending(path: "empty-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        return directory.path
    }
}

// MARK: - Waits

extension ConveyanceProof.BadInputTests {
    @Test func aWaitForTheRateLimitIsTold() async throws {
        let limited = FaultActions.answer(429, headers: ["RateLimit": "\"api\";r=0;t=1"])
        arm("hub", limited, path: "/revision/", times: 1)
        let ended = try await servers.run(command)
        try await expectConveyed(ended)
        #expect(
            ended.output.contains(#"{"event":"waiting","reason":"waiting 2 s for the Hub's rate limit"#),
            "\(ended)"
        )
        #expect(ended.output.contains("a token (HF_TOKEN) raises the limit"))
        arm("hub", limited, path: "/revision/", times: 1)
        let lines = try await servers.run(command.filter { $0 != "--json" })
        #expect(
            lines.status == 0 && lines.errors.contains("for the Hub's rate limit"),
            "before there is a plan: \(lines)"
        )
    }
}
