import LinuxPlatform
import ObjectStorage
import Publication
import Snapshots
import TestSupport
import Testing

/// Two processes, one destination.
struct RaceTests {
    @Test func theSecondOfTwoFollowsAndAdopts() async throws {
        let bench = Bench()
        let contents = ConveyorTests.files(30)
        let first = try MemorySource(contents)
        let second = try MemorySource(contents)
        let gate = Gate()
        let slow = SlowedSource(first, until: gate)
        async let winner = bench.conveyor(bench.store()).convey(slow)
        try await slow.waitUntilAsked()
        let following = Gate()
        async let loser = bench.conveyor(
            bench.store(),
            observer: { event in
                if case .following = event { following.open() }
            }
        )
        .convey(second)
        try await following.passed()
        gate.open()
        #expect(try await winner.outcome == .conveyed)
        // Only the follower sleeps now.
        let ticking = Task {
            while !Task.isCancelled {
                await bench.time.waitForSleepers()
                bench.time.advance(by: .seconds(2))
            }
        }
        #expect(try await loser.outcome == .adopted)
        ticking.cancel()
        #expect(second.fetchedBytes == 0)
        #expect(try await bench.verify().problems.isEmpty)
        #expect(try await bench.leftovers() == [])
    }

    @Test func aFrozenHolderFollowsTheOneThatTookOver() async throws {
        let bench = Bench()
        let contents = ConveyorTests.files(31)
        let gate = Gate()
        let frozen = SlowedSource(try MemorySource(contents), until: gate)
        async let first = bench.conveyor(bench.store()).convey(frozen)
        try await frozen.waitUntilAsked()
        // Frozen: its clock does not run and it renews nothing, while the server's does.
        bench.time.jumpTimeOfDay(by: .seconds(61))
        let second = try await bench.conveyor(bench.store()).convey(try MemorySource(contents))
        #expect(second.outcome == .conveyed)
        // It wakes up, sees how late it is, and finds the work done.
        bench.time.advance(by: .seconds(61))
        gate.open()
        #expect(try await first.outcome == .adopted)
        #expect(try await bench.verify().problems.isEmpty)
        #expect(try await bench.leftovers() == [])
    }
}
