import Emulators
import Foundation
import TestSupport
import Testing

/// A model read through a mount over a network that is bad in every way: stalls, slow connections, resets, bodies that end
/// early, and a store that asks to slow down.
@Suite(.serialized) struct FaultyNetworkTests {
    private static let repository = "acme/far"
    private static let files = ModelFiles(seed: 77, ["model.safetensors": (64 << 20) + 777, "config.json": 300])
    private static let seeds: [UInt64] = {
        var random = TestRun.random(41)
        return (0..<(TestRun.isSoak ? 40 : 3)).map { _ in random.next() % 1_000_000 }
    }()

    private static func servers() async throws -> EmulatedServers {
        let servers = try EmulatedServers()
        try files.write(to: servers.directory(of: repository))
        servers.hub.warm()
        let ended = try await servers.run(["snapshot", repository, "gs://\(EmulatedServers.bucket)/far", "--quiet"])
        #expect(ended.status == 0, "\(ended)")
        servers.control.reset()
        return servers
    }

    private static func rule(_ share: Double, seed: UInt64, _ change: (inout SendFaults) -> Void) throws -> FaultRule {
        var rule = FaultRule(.sending(change), method: "GET")
        // Of the model's bytes: a request for a table is not made again by the readers' rules.
        rule.pattern = PathPattern("model.safetensors.*alt=media")
        rule.probability = share
        rule.seed = seed
        rule.times = nil
        return rule
    }

    private static func bad(_ servers: EmulatedServers, seed: UInt64) throws -> [Int] {
        var random = SeededRandom(seed: seed)
        var rules: [FaultRule] = []
        for _ in 0..<2 {
            var burst = FaultRule(.answer(.init(503)), method: "GET")
            burst.pattern = PathPattern("model.safetensors.*alt=media")
            burst.nth = Int.random(in: 2...20, using: &random)
            burst.times = Int.random(in: 2...6, using: &random)
            rules.append(burst)
        }
        let place = Int.random(in: 0...1_500_000, using: &random)
        rules.append(
            try rule(0.03, seed: seed) { faults in
                faults.stallAt = place
                faults.stall = .seconds(10)
            }
        )
        rules.append(try rule(0.05, seed: seed + 1) { $0.bytesPerSecond = 10_000_000 })
        rules.append(
            try rule(0.05, seed: seed + 2) { faults in
                faults.truncateAt = 200_000
                faults.resets = true
            }
        )
        rules.append(try rule(0.05, seed: seed + 3) { $0.truncateAt = 300_000 })
        let faulty = rules.map { servers.control.add($0) }
        // The others, as a network is: latency, and a bound on each connection.
        servers.control.add(
            try rule(1, seed: 0) { faults in
                faults.latency = .milliseconds(5)
                faults.bytesPerSecond = 100_000_000
            }
        )
        return faulty
    }

    @Test(arguments: seeds)
    func readersSeeEveryByteAndNoError(seed: UInt64) async throws {
        let servers = try await Self.servers()
        let faulty = try Self.bad(servers, seed: seed)
        let mount = try await MountedPrefix(servers, "far")
        #expect(try mount.contents() == Self.files.contents)
        let struck = faulty.map { servers.control.strikes(of: $0) }
        #expect(struck.reduce(0, +) >= 3, "seed \(seed) made nothing go wrong: \(struck)")
        let sent = servers.control.mediaBytes.filter { $0.key.hasSuffix("/model.safetensors") }.reduce(0) {
            $0 + $1.value
        }
        let size = try #require(Self.files.contents["model.safetensors"]).count
        #expect(sent >= size)
        // The first 8 MiB may be sent for nothing before anything was delivered: on a busy machine some of them are.
        let most = 0.05 * Double(size) + Double(8 << 20)
        #expect(Double(sent - size) <= most, "seed \(seed): \(sent - size) bytes too many")
        let ended = try await mount.unmount()
        #expect(!ended.errors.contains("cannot read an object"), "\(ended)")
    }

    /// Each of these alone would keep a reader waiting for the hour, if nobody asked a second time.
    @Test func requestsThatHangForAnHourHoldUpNobody() async throws {
        let servers = try await Self.servers()
        for (nth, place) in [(2, 0), (4, 100_000), (5, 700_001)] {
            var hang = try Self.rule(1, seed: 0) { faults in
                faults.stallAt = place
                faults.stall = .seconds(3600)
            }
            hang.nth = nth
            hang.times = 1
            servers.control.add(hang)
        }
        let mount = try await MountedPrefix(servers, "far")
        #expect(try mount.contents() == Self.files.contents)
        try await mount.unmount()
    }

    /// What a mount and an open need besides the bytes: the manifest and the table.
    @Test func recordsThatHangForAnHourHoldUpNobody() async throws {
        let servers = try await Self.servers()
        for record in ["%2Fmanifest.json", "%2Fcrc%2F"] {
            var hang = FaultRule(
                .sending { faults in
                    faults.stallAt = 0
                    faults.stall = .seconds(3600)
                },
                method: "GET",
                path: record
            )
            hang.nth = 1
            hang.times = 1
            servers.control.add(hang)
        }
        let mount = try await MountedPrefix(servers, "far")
        #expect(try mount.contents() == Self.files.contents)
        for record in ["%2Fmanifest.json", "%2Fcrc%2F"] {
            let asked = servers.control.log.filter { $0.target.contains(record) }
            #expect(asked.count >= 2, "\(record) was asked for \(asked.count) times")
        }
        try await mount.unmount()
    }

    /// The token is refused in the middle of a file, and the metadata server has a new one.
    @Test func aTokenThatEndsInTheMiddleOfAReadIsReplaced() async throws {
        let servers = try await Self.servers()
        servers.gcs.tokens.isRequired = true
        let host = String(servers.gcs.baseURL.dropFirst("http://".count))
        let mount = try await MountedPrefix(
            servers,
            "far",
            ["--endpoint", servers.gcs.baseURL],
            environment: ["STORAGE_EMULATOR_HOST": "", "GCE_METADATA_HOST": host]
        )
        let model = try OpenedFile(mount.path + "/model.safetensors")
        let size = try #require(Self.files.contents["model.safetensors"]).count
        var bytes = Data(try model.read(at: 0, 20 << 20))
        servers.gcs.tokens.expireAll()
        bytes += Data(try model.read(at: bytes.count, size - bytes.count))
        #expect(bytes == Self.files.contents["model.safetensors"])
        #expect(servers.control.log.contains { $0.status == 401 })
        #expect(Set(servers.control.log.compactMap(\.authorization)).count == 2)
        try await mount.unmount()
    }
}
