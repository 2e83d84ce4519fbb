import Emulators
import Foundation
import Testing

extension ConveyanceProof {
    /// Several processes convey to one destination; the work is done once.
    @Suite struct RaceTests {
        private static let repository = "acme/raced"
        private static let files = ModelFiles(
            seed: 2,
            ["model.safetensors": 48 << 20 | 5, "tokenizer.json": 2 << 20, "config.json": 512]
        )

        private let servers: EmulatedServers

        init() throws {
            servers = try EmulatedServers()
            try Self.files.write(to: servers.directory(of: Self.repository))
            servers.hub.warm()
        }

        @Test func ofTwoOneConveysAndBothSucceed() async throws {
            let command = ConveyanceProof.arguments(Self.repository, "raced")
            let runs = try (0..<2).map { _ in try servers.start(command) }
            var outcomes: [String] = []
            for run in runs {
                let ended = try await run.ended()
                #expect(ended.status == 0, "\(ended)")
                outcomes.append(ended.outcome ?? "none")
            }
            #expect(outcomes.sorted() == ["adopted", "conveyed"])
            #expect(servers.fetchedBytes == Self.files.distinctSize)
            try await Self.files.expectConveyed(to: servers.bucket, "raced")
        }

        @Test func aFrozenWinnerAdoptsWhatItsSuccessorDid() async throws {
            let (frozen, ended) = try await overtaken(.media, nth: 7, carriedOut: true)
            #expect(frozen.status == 0 && frozen.outcome == "adopted", "\(frozen)")
            #expect(ended.status == 0 && ended.outcome == "conveyed", "\(ended)")
        }

        @Test func aWinnerFrozenBeforeItsManifestAdoptsWhatItsSuccessorFinished() async throws {
            let (frozen, ended) = try await overtaken(.move, nth: Self.files.contents.count, carriedOut: true)
            #expect(frozen.status == 0, "\(frozen)")
            #expect(ended.status == 0, "\(ended)")
        }

        @Test func aWinnerFrozenInItsCleanUpLeavesNothing() async throws {
            let (frozen, ended) = try await overtaken(.delete, nth: 1, carriedOut: false)
            #expect(frozen.status == 0, "\(frozen)")
            #expect(ended.status == 0, "\(ended)")
        }

        /// Freezes a run at a request, lets another take over and finish, and wakes the first.
        private func overtaken(
            _ pattern: TripWire.Pattern,
            nth: Int,
            carriedOut: Bool
        ) async throws -> (frozen: EndedProgram, successor: EndedProgram) {
            let command = ConveyanceProof.arguments(Self.repository, "raced")
            // Long enough to freeze the client while it waits; the answer is there when it wakes up.
            let wire = try servers.tripWire(pattern, nth: nth, carriedOut: carriedOut, hangs: .seconds(1))
            let frozen = try servers.start(command)
            try #require(try await eventually(within: .seconds(120)) { wire.isTripped || !frozen.isRunning })
            frozen.send(SIGSTOP)
            wire.disarm()
            let successor = try await servers.run(command)
            try await Self.files.expectConveyed(to: servers.bucket, "raced", "before the first wakes up")
            frozen.send(SIGCONT)
            let woken = try await frozen.ended()
            try await Self.files.expectConveyed(to: servers.bucket, "raced", "after the first woke up")
            return (woken, successor)
        }
    }
}
