import Checksums
import Foundation
import LinuxPlatform
import Testing

@testable import Emulators

@Suite struct HubRouteTests {
    private let tiny = HubRepositoryName("acme/tiny")
    private let commit = String(repeating: "a", count: 40)

    private func route(_ target: String) throws -> HubRoute { HubRoute(try #require(RequestTarget(target)).segments) }

    @Test func readsTheHubsRoutes() throws {
        #expect(try route("/api/models/acme/tiny") == .info(tiny, revision: nil))
        #expect(try route("/api/models/acme/tiny/revision/refs%2Fpr%2F1") == .info(tiny, revision: "refs/pr/1"))
        #expect(try route("/api/models/gpt2/revision/main") == .info(HubRepositoryName("gpt2"), revision: "main"))
        #expect(
            try route("/api/models/acme/tiny/tree/main/a/b?recursive=true")
                == .tree(tiny, revision: "main", path: "a/b")
        )
        #expect(
            try route("/api/models/acme/tree/tree/main")
                == .tree(HubRepositoryName("acme/tree"), revision: "main", path: "")
        )
        #expect(try route("/acme/tiny/resolve/main/a%20b/c") == .resolve(tiny, revision: "main", path: "a b/c"))
        #expect(
            try route("/datasets/a/b/resolve/main/x")
                == .resolve(HubRepositoryName("a/b", kind: .datasets), revision: "main", path: "x")
        )
        #expect(try route("/gpt2/raw/main/x") == .raw(HubRepositoryName("gpt2"), revision: "main", path: "x"))
        #expect(
            try route("/api/resolve-cache/models/acme/tiny/\(commit)/a/b?etag=x")
                == .resolveCache(tiny, commit: commit, path: "a/b")
        )
    }

    @Test(arguments: [
        "/", "/api", "/api/models", "/api/agent-harnesses", "/acme/tiny", "/api/resolve-cache/models/x", "/resolve/a/b",
    ])
    func knowsNoOthers(_ target: String) throws {
        #expect(try route(target) == .unknown)
    }

    @Test func renamesWithinAPath() throws {
        let route = try route("/api/models/old/name/tree/main/old/name")
        #expect(
            route.renamedPath("/api/models/old/name/tree/main/old/name", to: tiny)
                == "/api/models/acme/tiny/tree/main/old/name"
        )
    }
}

@Suite struct HubHashTests {
    @Test func namesTreesAsGitDoes() throws {
        // `git mktree` of one empty blob `a`, and of the directory `d` that holds it.
        let empty = try #require(SHA1Digest(hex: "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"))
        #expect(GitTree([(path: "a", oid: empty)]).oid.hex == "496d6428b9cf92981dc9495211e6e1120fb6f2ba")
        #expect(GitTree([]).oid.hex == "4b825dc642cb6eb9a060e54bf8d69288fbee4904")
        let nested = GitTree([(path: "d/a", oid: empty)])
        #expect(nested.directories.map(\.path) == ["d"])
        #expect(nested.directories.first?.oid.hex == "496d6428b9cf92981dc9495211e6e1120fb6f2ba")
    }

    @Test func signsAsRFC4231() {
        // Test case 2.
        let digest = hmacSHA256(key: Array("Jefe".utf8), Array("what do ya want for nothing?".utf8))
        #expect(digest.hex == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    }

    @Test func decidesOnLFSAsTheHubDoes() {
        let rule = LFSRule(
            gitAttributes: Array("*.bin filter=lfs diff=lfs\n# c\nsaved/**/* filter=lfs\n*.txt text\n".utf8)
        )
        #expect(rule.holds("a/b.bin", size: 1) && rule.holds("saved/x/y", size: 1))
        #expect(!rule.holds("a.txt", size: 1) && !rule.holds("a.bin", size: 0) && !rule.holds("a.safetensors", size: 1))
        #expect(rule.holds("a.txt", size: 10_000_001))
        #expect(LFSRule(gitAttributes: nil).holds("model.safetensors", size: 1))
    }

    @Test func remembersHashesUntilAFileChanges() throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("hashes-\(UUID().uuidString)")
            .path
        defer { try? FileManager.default.removeItem(atPath: directory) }
        makeDirectories("\(directory)/files")
        try Data("one".utf8).write(to: URL(fileURLWithPath: "\(directory)/files/a"))
        let first = try #require(walkedFiles(below: "\(directory)/files").first)
        let digest = try FileHashes(directory: "\(directory)/cache").sha256(of: first)
        #expect(digest == SHA256Digest.of(Array("one".utf8)))
        // Another process finds the record, even when the file can no longer be read.
        try FileManager.default.removeItem(atPath: "\(directory)/files/a")
        #expect(try FileHashes(directory: "\(directory)/cache").sha256(of: first) == digest)
        try Data("three".utf8).write(to: URL(fileURLWithPath: "\(directory)/files/a"))
        let second = try #require(walkedFiles(below: "\(directory)/files").first)
        #expect(
            try FileHashes(directory: "\(directory)/cache").sha256(of: second) == SHA256Digest.of(Array("three".utf8))
        )
    }
}

@Suite struct HubQuotaTests {
    @Test func countsByCallerInFixedWindows() {
        var quota = HubQuota()
        quota.limits["api"] = HubQuota.Limit(requests: 2, windowSeconds: 300)
        let start = UnixTime(seconds: 1000)
        #expect(quota.count("api", caller: "a", now: start).headers["RateLimit"] == "\"api\";r=1;t=300")
        #expect(quota.count("api", caller: "a", now: start).isAllowed)
        let refused = quota.count("api", caller: "a", now: start.advanced(by: .seconds(100)))
        #expect(!refused.isAllowed && refused.headers["RateLimit"] == "\"api\";r=0;t=200")
        #expect(refused.headers["RateLimit-Policy"] == "\"fixed window\";\"api\";q=2;w=300")
        #expect(quota.count("api", caller: "b", now: start).isAllowed)
        #expect(quota.count("api", caller: "a", now: start.advanced(by: .seconds(300))).isAllowed)
        #expect(quota.count("pages", caller: "a", now: start).headers.isEmpty)
    }
}

@Suite struct URLSignerTests {
    @Test func acceptsItsOwnUntilTheyExpire() throws {
        var signer = URLSigner()
        let expires = UnixTime(seconds: 5000)
        let target = try #require(RequestTarget("/m/x" + signer.query(path: "/m/x", expires: expires)))
        #expect(signer.check(target, now: UnixTime(seconds: 4999)) == .valid)
        #expect(signer.check(target, now: expires) == .expired)
        signer.epoch += 1
        #expect(signer.check(target, now: UnixTime(seconds: 4999)) == .expired)
    }

    @Test func refusesOthers() throws {
        let signer = URLSigner()
        let query = signer.query(path: "/m/x", expires: UnixTime(seconds: 5000))
        for text in ["/m/y" + query, "/m/x" + query.replacing("5000", with: "6000"), "/m/x", "/m/x?Expires=5000"] {
            #expect(signer.check(try #require(RequestTarget(text)), now: UnixTime(seconds: 1)) == .forged)
        }
    }
}

@Suite struct HubRangeTests {
    @Test func readsOneRange() {
        #expect(requestedRange("bytes=0-9", size: 100) == .part(0..<10))
        #expect(requestedRange("bytes=90-200", size: 100) == .part(90..<100))
        #expect(requestedRange("bytes=90-", size: 100) == .part(90..<100))
        #expect(requestedRange("bytes=-10", size: 100) == .part(90..<100))
        #expect(requestedRange("bytes=100-", size: 100) == .unsatisfiable)
        #expect(requestedRange("bytes=0-0", size: 0) == .unsatisfiable)
        for text in [nil, "bytes=5-3", "bytes=a-b", "bytes=0-1,3-4", "items=0-1", "bytes=-"] {
            #expect(requestedRange(text, size: 100) == .whole)
        }
    }
}
