import Emulators
import Foundation
import Glibc
import TestSupport
import Testing

/// Two daemons, one cache directory, one bucket that counts what it sends.
@Suite(.serialized, .enabled(if: isPassthroughPossible, "passthrough needs Linux 6.9 and CAP_SYS_ADMIN"))
struct SharedCacheTests {
    private static let files = ModelFiles(
        seed: 41,
        ["held.safetensors": 8 << 20, "shared.safetensors": (48 << 20) + 4321]
    )

    /// A slow machine makes daemons ask again: for a block that the other one has not brought for seconds, or for the rest
    /// of a request that is late. Never for so much, and far less than without a common cache.
    private static let slowness = 24 << 20

    private let servers: EmulatedServers
    private var cache: String { servers.root.appending(path: "cache").path }

    init() async throws {
        servers = try EmulatedServers()
        try Self.files.write(to: servers.directory(of: "acme/pair"))
        let conveyed = try await servers.run([
            "snapshot", "--quiet", "acme/pair", "gs://\(EmulatedServers.bucket)/pair",
        ])
        try #require(conveyed.status == 0, "\(conveyed)")
        servers.control.reset()
    }

    private func mounted(_ more: [String] = []) async throws -> MountedPrefix {
        try await MountedPrefix(servers, "pair", ["--cache-dir", cache, "--cache-free", "0"] + more)
    }

    private func isRight(_ mount: MountedPrefix, _ name: String) throws -> Bool {
        let expected = Array(try #require(Self.files.contents[name]))
        return isSame(try OpenedFile(mount.path(name)).read(at: 0, expected.count + 1), expected[...])
    }

    /// What the bucket sent of a file's content, or of both; what was broken off counts as sent whole.
    private func sent(_ name: String = "") -> Int {
        servers.control.log.reduce(0) { sum, request in
            let isContent = request.target.contains("pair%2F\(name)") && request.target.contains(".safetensors?")
            guard request.server == "gcs", request.method == "GET", isContent else { return sum }
            return sum + request.contentBytes
        }
    }

    @Test func eachBlockIsFetchedByOneOfThem() async throws {
        // Memory for all of it: what a slow disk has not taken yet is not dropped.
        let roomy = ["--memory", "128M"]
        let mounts = [try await mounted(roomy), try await mounted(roomy)]
        let results = ManagedCounter()
        for mount in mounts {
            Thread { results.finish(ok: (try? isRight(mount, "shared.safetensors")) ?? false) }.start()
        }
        #expect(results.wait(for: 2) == 2)
        let size = try #require(Self.files.contents["shared.safetensors"]?.count)
        print("two daemons fetched \(sent("shared.safetensors")) bytes of \(size)")
        #expect((size...size + Self.slowness).contains(sent("shared.safetensors")))
        for mount in mounts { try await mount.unmount() }
    }

    /// It dies with half of one file fetched, and with another file open that the kernel reads.
    @Test func whatADeadDaemonHadKeptIsNotFetchedAgain() async throws {
        let first = try await mounted(["--memory", "128M", "--keeper", "off"])
        let second = try await mounted()
        #expect(try isRight(first, "held.safetensors"))
        let held = try await KernelRead.open(first.path("held.safetensors"))
        let half = 24 << 20
        _ = try OpenedFile(first.path("shared.safetensors")).read(at: 0, half)
        let content = Array(try #require(Self.files.contents["held.safetensors"]))
        #expect(try await eventually(within: .seconds(60)) { bytesKept(in: cache) >= content.count + half })
        try await first.kill()
        // What it had in memory only went with it.
        let lost = sent() - bytesKept(in: cache)
        #expect(try isRight(second, "shared.safetensors"))
        #expect(try isRight(second, "held.safetensors"))
        print("fetched \(sent()) bytes of \(Self.files.size), of which the dead daemon took \(lost) with it")
        #expect(sent() <= Self.files.size + lost + Self.slowness)
        // The file that only the dead daemon had open still shows what it did.
        #expect(isSame(try held.read(at: 0, content.count), content[...]))
        try await second.unmount()
    }
}
