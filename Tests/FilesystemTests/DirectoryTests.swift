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

    @Test func aLinkLeadsWhereItsObjectSays() async throws {
        let time = ManualTime()
        let bucket = MemoryBucket(time: time)
        try bucket.plant("run/last.ckpt", [], metadata: ["penstock-link": "step-3/caf\u{e9}"])
        let rig = try Rig(bucket: bucket, timeToLive: .seconds(60))
        let link = try await rig.walk("run/last.ckpt")
        #expect(link.isLink && !link.isDirectory && link.size == "step-3/caf\u{e9}".utf8.count)
        #expect(try await rig.target(link.node) == "step-3/caf\u{e9}")
        try bucket.plant("run/last.ckpt", [], metadata: ["penstock-link": "step-4"])
        time.advance(by: .seconds(61))
        #expect(try await rig.target(rig.walk("run/last.ckpt").node) == "step-4")
        await #expect(throws: FilesystemError.stale) { try await rig.target(link.node) }
    }

    @Test(arguments: ["", "a\u{0}b", String(repeating: "x", count: 4096)])
    func whatNoLinkCanLeadToIsAFile(target: String) async throws {
        let bucket = MemoryBucket()
        try bucket.plant("a", [], metadata: ["penstock-link": target])
        try bucket.plant("b", [1], metadata: ["penstock-link": "bytes"])
        let rig = try Rig(bucket: bucket)
        for name in ["a", "b"] {
            let file = try await rig.walk(name)
            #expect(!file.isLink)
            await #expect(throws: FilesystemError.stale) { try await rig.target(file.node) }
        }
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

    @Test func aWalkListsEachDirectoryOnceAndAhead() async throws {
        let bucket = MemoryBucket()
        for directory in 10..<60 { for file in 0..<3 { try bucket.plant("d\(directory)/f\(file)", [1]) } }
        let rig = try Rig(bucket: bucket, timeToLive: .seconds(3600))
        let names = try await rig.names(.root)
        for name in names { #expect(try await rig.names(rig.walk(name).node).count == 3) }
        #expect(rig.store.calls.count == 51)
    }

    @Test func whatIsListedAheadEndsWhereItIsTooLargeAndIsWholeWhenAskedFor() async throws {
        let bucket = MemoryBucket()
        for name in ["a/f", "b/f"] { try bucket.plant(name, [1]) }
        for file in 0..<12_000 { try bucket.plant("c/\(file)", []) }
        let rig = try Rig(bucket: bucket, timeToLive: .seconds(3600))
        // Opening `a` behind the root is a walk: `b` and `c` are listed, `c` only in part.
        #expect(try await rig.names(.root) == ["a", "b", "c"])
        #expect(try await rig.names(rig.walk("a").node) == ["f"])
        #expect(try await rig.names(rig.walk("c").node).count == 12_000)
        #expect(rig.store.calls.count <= 3 + 12 + 10)
    }

    @Test func aListingAheadThatFailsIsAskedForAgain() async throws {
        let bucket = MemoryBucket()
        for name in ["a/f", "b/f", "c/f"] { try bucket.plant(name, [1]) }
        let rig = try Rig(bucket: bucket, timeToLive: .seconds(3600))
        _ = try await rig.names(.root)
        let failures = Lock(0)
        rig.store.setHook { call in
            guard call.object.hasPrefix("b"), call.moment == .before else { return nil }
            failures.withLock { $0 += 1 }
            return failures.withLock { $0 } == 1 ? .fail(ObjectStoreError(.unavailable, "on purpose")) : nil
        }
        _ = try await rig.names(rig.walk("a").node)
        // It failed before anybody waited, or with this reader: the next one asks again.
        _ = try? await rig.names(rig.walk("b").node)
        #expect(try await rig.names(rig.walk("b").node) == ["f"])
    }

    @Test func aDirectoryIsUnchangedAsLongAsItsListingIsBelieved() async throws {
        let time = ManualTime()
        let bucket = MemoryBucket(time: time)
        try bucket.plant("d/a", [1])
        let rig = try Rig(bucket: bucket, timeToLive: .seconds(60))
        let node = try await rig.walk("d").node
        #expect(try await !rig.opened(node).isUnchanged)
        #expect(try await rig.opened(node).isUnchanged)
        time.advance(by: .seconds(61))
        #expect(try await !rig.opened(node).isUnchanged)
        #expect(try await rig.opened(node).isUnchanged)
    }

    @Test func aDirectoryThatTheKernelForgotIsShownAnew() async throws {
        let bucket = MemoryBucket()
        try bucket.plant("d/a", [1])
        let rig = try Rig(bucket: bucket, timeToLive: .seconds(60))
        let node = try await rig.walk("d").node
        _ = try await rig.opened(node)
        rig.filesystem.forget(node, 1)
        #expect(try await !rig.opened(rig.walk("d").node).isUnchanged)
    }

    @Test func aNameIsBelievedNoLongerThanItsListing() async throws {
        let time = ManualTime()
        let bucket = MemoryBucket(time: time)
        try bucket.plant("a", [1])
        let rig = try Rig(bucket: bucket, timeToLive: .seconds(60))
        let end = time.now().advanced(by: .seconds(60))
        for name in ["a", "none"] {
            #expect(try await rig.found(.root, name).validUntil == end)
            time.advance(by: .seconds(20))
        }
    }

    @Test func aGenerationThatIsGoneEndsItsListingAndIsTold() async throws {
        let bucket = MemoryBucket()
        for name in ["d/a", "d/b", "d/c"] { try bucket.plant(name, [1]) }
        let rig = try Rig(bucket: bucket, timeToLive: .seconds(3600))
        let told = Lock([String]())
        let isTold = Gate()
        let directory = try await rig.walk("d").node
        rig.filesystem.observeNames { node, names in
            told.withLock { $0 += names.map { "\(node == directory):\($0)" } }
            isTold.open()
        }
        let old = try await rig.walk("d/a")
        try await rig.open(old.node)
        try bucket.plant("d/a", [1, 2])
        try bucket.plant("d/new", [1])
        bucket.remove("d/b")
        #expect(try await rig.walk("d/a").size == 1, "the listing is still believed")
        await #expect(throws: FilesystemError.stale) { try await rig.read(old.node, 0, 1) }
        #expect(try await rig.walk("d/a").size == 2)
        // The new listing can be asked before its observer was called.
        try await isTold.passed()
        #expect(told.withLock(\.self) == ["true:a", "true:b", "true:new"])
        await #expect(throws: FilesystemError.stale) { try await rig.open(old.node) }
    }

    @Test(arguments: 0..<50 as Range<UInt64>)
    func changesAreExactlyWhatDiffers(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        func listing() throws -> (DirectoryListing, [String: Int64]) {
            var generations: [String: Int64] = [:]
            for _ in 0..<12 {
                generations["n\(Int.random(in: 0..<16, using: &random))"] = .random(in: 1...2, using: &random)
            }
            let entries = try generations.map { name, generation in
                let facts = FileFacts(
                    object: try ObjectName(name),
                    generation: Generation(generation),
                    size: 0,
                    modified: UnixTime(seconds: 0),
                    crc32c: nil
                )
                return DirectoryEntry(file: facts, name: try #require(EntryName(name)))
            }
            return (DirectoryListing(entries, below: "", validUntil: .distantFuture), generations)
        }
        let ((old, before), (new, after)) = (try listing(), try listing())
        let expected = Set(before.keys).union(after.keys).filter { before[$0] != after[$0] }.sorted()
        #expect(old.changes(to: new).map(\.value) == expected)
        for name in before.keys { #expect(old[try #require(EntryName(name))]?.generation.value == before[name]) }
        #expect(try old[#require(EntryName("absent"))] == nil)
    }

    @Test func totalsAreOfWhatIsListed() async throws {
        let bucket = MemoryBucket()
        // Nothing below "d": a walk may list that ahead.
        for name in ["a", "d/b", "d/c"] { try bucket.plant(name, [1, 2, 3]) }
        let rig = try Rig(bucket: bucket, timeToLive: .seconds(3600))
        _ = try await rig.names(.root)
        #expect(rig.filesystem.totals == .init(files: 2, bytes: 3))
        _ = try await rig.names(rig.walk("d").node)
        #expect(rig.filesystem.totals.bytes == 9)
    }
}
