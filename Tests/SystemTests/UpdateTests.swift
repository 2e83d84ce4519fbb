import Emulators
import Foundation
import TestSupport
import Testing

extension ConveyanceProof {
    /// A published snapshot is updated while it is mounted, and the update dies at every step.
    @Suite struct UpdateTests {
        private static let repository = "acme/updated"
        private static let same = ["same.safetensors": 1 << 20]
        private static let old = ModelFiles(
            seed: 6,
            ["model.safetensors": 5 << 20 | 7, "tokenizer.json": 300_000, "config.json": 400, "old.txt": 90_000]
        ).with(ModelFiles(seed: 60, same))
        private static let new = ModelFiles(
            seed: 7,
            ["model.safetensors": 5 << 20 | 7, "tokenizer.json": 310_000, "config.json": 400, "new/file.txt": 70_000]
        ).with(ModelFiles(seed: 60, same))

        private let servers: EmulatedServers

        init() throws {
            servers = try EmulatedServers()
            try Self.old.write(to: servers.directory(of: Self.repository))
            try Self.new.write(to: servers.root.appending(path: "new"))
            let first = try #require(servers.hub.warm().values.first)
            let second = String(repeating: "c", count: 40)
            servers.hub.change(HubRepositoryName(Self.repository)) { settings in
                settings.commits[second] = servers.root.appending(path: "new").path
                settings.branches = ["main": second, "old": first]
            }
        }

        private func convey(_ revision: String, _ prefix: String) -> [String] {
            ConveyanceProof.arguments(Self.repository, prefix, ["--revision", revision, "--prune"])
        }

        /// A step of an update: the nth request of a kind that changes the bucket.
        private struct Step: CustomStringConvertible {
            var pattern: TripWire.Pattern
            var nth: Int
            var carriedOut: Bool
            var description: String { "\(carriedOut ? "after" : "before") \(pattern.target) \(nth)" }
        }

        @Test func recordsThatAreReplacedAreNotCached() async throws {
            let wire = try servers.tripWire(.move, carriedOut: false)
            let killed = try await servers.start(convey("old", "cached")).killed { wire.isTripped }
            wire.disarm()
            try #require(killed)
            let during = try await servers.bucket.objects("cached/.penstock/")
            let finished = try await servers.run(convey("old", "cached"))
            #expect(finished.status == 0, "\(finished)")
            let all = try await during + servers.bucket.objects("cached/")
            for record in ["intent.json", "lease", "manifest.json"] {
                let found = all.filter { $0.name == "cached/.penstock/\(record)" }
                #expect(!found.isEmpty && found.allSatisfy { $0.cacheControl == "no-store" }, "\(record): \(found)")
            }
            let files = all.filter { $0.name.hasSuffix(".txt") }
            #expect(!files.isEmpty && files.allSatisfy { $0.cacheControl == nil }, "files are the bucket's affair")
        }

        @Test func killedAtEveryStepReadersSeeOneVersionWhole() async throws {
            var steps = try await allSteps()
            #expect(steps.count > 30, "there is something to kill")
            if !TestRun.isSoak {
                var random = TestRun.random(20)
                steps = Array(steps.shuffled(using: &random).prefix(5))
            }
            for (index, step) in steps.enumerated() { try await prove(step, "updated/\(index)") }
        }

        /// By an update that nobody disturbs.
        private func allSteps() async throws -> [Step] {
            let prefix = "updated/whole"
            for revision in ["old", "main"] {
                servers.control.reset()
                let ended = try await servers.run(convey(revision, prefix))
                try #require(ended.status == 0, "\(ended)")
            }
            let log = servers.control.log.filter { $0.server == "gcs" }
            var steps: [Step] = []
            for pattern in [TripWire.Pattern.upload, .compose, .copy, .move, .delete] {
                let part = pattern.target.hasPrefix("^") ? String(pattern.target.dropFirst()) : pattern.target
                let count = log.count { $0.method == pattern.method && $0.target.contains(part) }
                #expect(count > 0, "no \(pattern.target)")
                for nth in 1...max(1, count) {
                    steps += [false, true].map { Step(pattern: pattern, nth: nth, carriedOut: $0) }
                }
            }
            return steps
        }

        private func prove(_ step: Step, _ prefix: String) async throws {
            let conveyed = try await servers.run(convey("old", prefix))
            try #require(conveyed.status == 0, "\(conveyed)")
            // The kernel keeps what it read: one mount to read in the middle, one for the end.
            let readInTheMiddle = try await MountedPrefix(servers, prefix)
            let readAtTheEnd = try await MountedPrefix(servers, prefix)

            let wire = try servers.tripWire(step.pattern, nth: step.nth, carriedOut: step.carriedOut)
            let wasKilled = try await servers.start(convey("main", prefix)).killed { wire.isTripped }
            wire.disarm()
            #expect(wasKilled, "\(step): the update ended before it got there")

            expect(try readInTheMiddle.contents(), Self.old, "\(step): the mount from before, in the middle")
            let manifest = try await servers.bucket.contents("\(prefix)/.penstock/manifest.json")
            let isNew = String(decoding: manifest, as: UTF8.self).contains("\"commit\":\"cccc")
            let fresh = try await MountedPrefix(servers, prefix)
            expect(try fresh.contents(), isNew ? Self.new : Self.old, "\(step): a new mount, in the middle")
            try await fresh.unmount()
            try await readInTheMiddle.unmount()

            let finished = try await servers.run(convey("main", prefix))
            #expect(finished.status == 0, "\(step): \(finished)")
            let after = try await MountedPrefix(servers, prefix)
            expect(try after.contents(), Self.new, "\(step): a new mount, at the end")
            expect(try readAtTheEnd.contents(), Self.old, "\(step): the mount from before, at the end")
            try await after.unmount()
            try await readAtTheEnd.unmount()
            try await expectNothingTemporary(prefix, "\(step)")
            try await servers.bucket.deleteAll("\(prefix)/")
        }

        private func expect(_ found: [String: Data], _ files: ModelFiles, _ comment: Comment) {
            #expect(found.keys.sorted() == files.contents.keys.sorted(), comment)
            for (path, content) in files.contents { #expect(found[path] == content, "\(path); \(comment)") }
        }

        /// The new version, and the replaced files that are kept for mounts of the old one.
        private func expectNothingTemporary(_ prefix: String, _ comment: Comment) async throws {
            let names = try await servers.bucket.names("\(prefix)/")
            let kept = ["crc/", "replaced/"].map { "\(prefix)/.penstock/\($0)" }
            let others = names.filter { name in !kept.contains { name.hasPrefix($0) } }
            let files = Self.new.contents.keys.map { "\(prefix)/\($0)" }
            #expect(others.sorted() == (files + ["\(prefix)/.penstock/manifest.json"]).sorted(), comment)
        }
    }
}
