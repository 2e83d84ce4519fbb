import Checksums
import LinuxPlatform
import Manifests
import ObjectStorage
import Publication
import Snapshots
import TestSupport
import Testing

/// The process dies before and after every request in turn; the next run finishes the work.
struct KillTests {
    /// How far apart the steps are: every one in a soak, a seeded slice otherwise.
    static let stride = 3

    /// Runs until it is done, killed at `step` on the first run; the bytes that both runs fetched.
    private static func conveyKilled(
        atStep step: Int,
        _ bench: Bench,
        _ contents: [String: [UInt8]],
        commit: Character
    ) async throws -> (wasKilled: Bool, fetched: Int) {
        let first = try MemorySource(contents, commit: commit)
        var wasKilled = false
        do {
            _ = try await bench.conveyor(bench.store(StoreFault.killing(atStep: step))).convey(first)
        } catch {
            wasKilled = true
        }
        // The dead process's lease runs out.
        bench.time.advance(by: .seconds(120))
        let second = try MemorySource(contents, commit: commit)
        _ = try await bench.conveyor(bench.store()).convey(second)
        return (wasKilled, first.fetchedBytes + second.fetchedBytes)
    }

    @Test func aFirstConveyanceSurvivesEveryKill() async throws {
        let contents = ConveyorTests.files(20)
        let total = contents.values.reduce(0) { $0 + $1.count }
        var step = 0
        var kills = 0
        while true {
            let bench = Bench()
            let (wasKilled, fetched) = try await Self.conveyKilled(atStep: step, bench, contents, commit: "a")
            if !wasKilled { break }
            kills += 1
            let report = try await bench.verify()
            #expect(report.problems.isEmpty && report.unlisted.isEmpty, "step \(step): \(report.problems)")
            #expect(try await bench.leftovers() == [], "step \(step)")
            // What was not acknowledged is at most the buffers: here 4 MiB, which is more than there is.
            #expect(fetched <= 2 * total, "step \(step)")
            step += Self.stride
        }
        #expect(kills > 15)
    }

    /// What a reader of the manifest sees: each file under its name in the named generation, or kept aside.
    private static func read(_ bench: Bench) async throws -> (commit: String, contents: [String: [UInt8]])? {
        let store = bench.store()
        let paths = PenstockPaths(Bench.prefix)
        guard let (_, manifest) = try await SnapshotManifest.standing(store, paths) else { return nil }
        var contents: [String: [UInt8]] = [:]
        for file in manifest.files {
            do {
                let name = try Bench.prefix.name(file.path.value)
                contents[file.path.value] =
                    try await store.contents(name, generation: file.generation, limit: 64 << 20).bytes
            } catch {
                let aside = try paths.replaced(file.sha256)
                contents[file.path.value] = try await store.contents(aside, generation: nil, limit: 64 << 20).bytes
            }
        }
        return (manifest.source.commit, contents)
    }

    @Test func anUpdateKilledAnywhereShowsOneVersionWhole() async throws {
        let old = ConveyorTests.files(21)
        var new = ConveyorTests.files(22)
        new["empty"] = nil
        var step = 0
        var kills = 0
        while true {
            let bench = Bench()
            _ = try await bench.conveyor(bench.store()).convey(try MemorySource(old))
            var wasKilled = false
            do {
                let faulty = bench.store(StoreFault.killing(atStep: step))
                _ = try await bench.conveyor(faulty).convey(try MemorySource(new, commit: "b"))
            } catch {
                wasKilled = true
            }
            let seen = try #require(try await Self.read(bench))
            let expected = seen.commit.hasPrefix("a") ? old : new
            #expect(seen.contents == expected, "step \(step)")
            bench.time.advance(by: .seconds(120))
            _ = try await bench.conveyor(bench.store()).convey(try MemorySource(new, commit: "b"))
            #expect(try await Self.read(bench)?.contents == new, "step \(step)")
            #expect(try await bench.leftovers() == [], "step \(step)")
            if !wasKilled { break }
            kills += 1
            step += Self.stride
        }
        #expect(kills > 15)
    }
}
