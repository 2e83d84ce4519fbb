import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import Filesystem

struct DirectoryTests {
    @Test func aManifestIsATreeWithoutAnyListing() async throws {
        let snapshot = try PlantedSnapshot(["config.json": [1], "a/b/c.bin": [1, 2], "a/d": []])
        let rig = try Rig(bucket: snapshot.bucket, manifest: snapshot.manifest)
        #expect(try await rig.names(.root) == ["a", "config.json"])
        let directory = try await rig.walk("a")
        #expect(directory.isDirectory)
        #expect(try await rig.names(directory.node) == ["b", "d"])
        #expect(try await rig.walk("a/b/c.bin").size == 2)
        await #expect(throws: FilesystemError.noEntry) { try await rig.walk("a/x") }
        await #expect(throws: FilesystemError.notDirectory) { try await rig.walk("config.json/x") }
        #expect(rig.store.calls.isEmpty)
    }

    @Test func aSnapshotHidesPenstocksOwnDirectory() async throws {
        let snapshot = try PlantedSnapshot(["a": [1]])
        let rig = try Rig(bucket: snapshot.bucket, manifest: snapshot.manifest)
        await #expect(throws: FilesystemError.noEntry) { try await rig.walk(".penstock") }
        let listed = try Rig(bucket: snapshot.bucket)
        #expect(try await listed.names(.root) == ["a"])
        await #expect(throws: FilesystemError.noEntry) { try await listed.walk(".penstock") }
    }

    @Test func aListingShowsAPrefixAsADirectory() async throws {
        let bucket = MemoryBucket()
        for name in ["p/a", "p/d/b", "p/d/e/c", "other"] { try bucket.plant(name, [1]) }
        let rig = try Rig(bucket: bucket, prefix: "p")
        #expect(try await rig.names(.root) == ["a", "d"])
        #expect(try await rig.names(rig.walk("d").node) == ["b", "e"])
        #expect(try await rig.names(rig.walk("d/e").node) == ["c"])
    }

    @Test func namesThatCannotBeFilesAreHiddenWithOneWarningEach() async throws {
        let bucket = MemoryBucket()
        let long = String(repeating: "x", count: 256)
        for name in ["good", "d/", "d/f", "x//y", "../z", "both", "both/f", long] { try bucket.plant(name, [1]) }
        let rig = try Rig(bucket: bucket)
        for _ in 0..<3 { #expect(try await rig.names(.root) == ["both", "d", "good", "x"]) }
        #expect(try await rig.names(rig.walk("d").node) == ["f"])
        #expect(try await rig.names(rig.walk("x").node).isEmpty)
        #expect(try await rig.walk("both").isDirectory)
        #expect(rig.lines.containing("hidden").count == 4)
        #expect(rig.lines.containing("x//").count == 1)
        #expect(rig.lines.containing("a directory has the same name").count == 1)
    }

    @Test func spellingsOfAWordAreTwoNames() async throws {
        let bucket = MemoryBucket()
        try bucket.plant("caf\u{e9}", [1])
        try bucket.plant("cafe\u{301}", [1, 2])
        let rig = try Rig(bucket: bucket)
        #expect(try await rig.walk("caf\u{e9}").size == 1)
        #expect(try await rig.walk("cafe\u{301}").size == 2)
        #expect(try await rig.names(.root).count == 2)
    }

    @Test func aListingIsBelievedForAWhileAlsoInWhatItDoesNotHold() async throws {
        let time = ManualTime()
        let bucket = MemoryBucket(time: time)
        try bucket.plant("a", [1])
        let rig = try Rig(bucket: bucket, timeToLive: .seconds(60))
        for _ in 0..<5 {
            _ = try await rig.walk("a")
            await #expect(throws: FilesystemError.noEntry) { try await rig.walk("b") }
        }
        #expect(rig.store.calls.count == 1)
        try bucket.plant("b", [1])
        time.advance(by: .seconds(61))
        _ = try await rig.walk("b")
        #expect(rig.store.calls.count == 2)
    }

    @Test func thoseWhoAskAtTheSameTimeShareOneListing() async throws {
        let bucket = MemoryBucket()
        try bucket.plant("a", [1])
        let rig = try Rig(bucket: bucket, timeToLive: .seconds(3600))
        let found = await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<50 { group.addTask { (try? await rig.walk("a")) != nil } }
            return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(found == 50)
        #expect(rig.store.calls.count < 50)
    }

    @Test func aListingThatFailsIsAnErrorAndNotAnEmptyDirectory() async throws {
        let rig = try Rig(bucket: MemoryBucket())
        rig.store.setHook { _ in .fail(ObjectStoreError(.unavailable, "on purpose")) }
        await #expect(throws: FilesystemError.inputOutput) { try await rig.names(.root) }
        #expect(rig.lines.containing("on purpose").count == 1)
    }

    @Test func manyNamesComeInPages() async throws {
        var options = MemoryBucket.Options()
        options.hasEmptyPages = true
        let bucket = MemoryBucket(options)
        for index in 0..<2500 { try bucket.plant("f\(index)", []) }
        let rig = try Rig(bucket: bucket)
        #expect(try await rig.names(.root).count == 2500)
    }
}
