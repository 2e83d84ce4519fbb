import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import WriteBack

/// Published directories of a hierarchical bucket get another name at once.
@Suite struct FolderRenameTests {
    /// A directory `old` with a small file, a large one and one in a directory of its own, all published.
    private func published(_ seed: UInt64, _ weather: Weather = Weather()) async throws -> (
        life: WriteBackLife, contents: [String: [UInt8]]
    ) {
        let life = try WriteBackLife(seed: seed, isHierarchical: true)
        let top = try await directory(life, "old", in: .root)
        let sub = try await directory(life, "sub", in: top)
        var contents: [String: [UInt8]] = [:]
        for (name, place, size) in [("a", top, 20), ("b", top, 700), ("c", sub, 30)] {
            let bytes = life.random.bytes(size)
            try await write(life, bytes, to: name, in: place)
            contents[place == sub ? "sub/\(name)" : name] = bytes
        }
        try await life.drain()
        life.mount.update { $0.engine.isDraining = false }
        life.weather = weather
        return (life, contents)
    }

    private func directory(_ life: WriteBackLife, _ name: String, in place: TreeNode) async throws -> TreeNode {
        let (mount, request) = (life.mount, life.request())
        return try await life.call { mount.makeDirectory(request, name, in: place, mode: 0o755, $0) }.get().attributes
            .node
    }

    private func write(_ life: WriteBackLife, _ bytes: [UInt8], to name: String, in place: TreeNode) async throws {
        let handle = try await life.create(name, in: place)
        try await life.write(bytes, handle, at: 0)
        try await life.release(handle)
    }

    private func rename(_ life: WriteBackLife, _ old: String, _ new: String) async throws {
        let (mount, request) = (life.mount, life.request())
        try await life.call { mount.rename(request, old, in: .root, to: new, in: .root, .replace, $0) }.get()
    }

    private func named(_ contents: [String: [UInt8]], _ directory: String) -> [String: [UInt8]] {
        Dictionary(uniqueKeysWithValues: contents.map { ("\(directory)/\($0.key)", $0.value) })
    }

    private func count(_ life: WriteBackLife, _ operation: StoreOperation) -> Int {
        life.store.calls.count { $0.operation == operation }
    }

    @Test func aPublishedDirectoryIsRenamedByOneRequest() async throws {
        let (life, contents) = try await published(81)
        try await rename(life, "old", "new")
        try await life.drain()
        #expect(life.published == named(contents, "new"))
        #expect(count(life, .renameFolder) == 1)
        #expect(count(life, .move) == 0 && count(life, .copy) == 0)
        // What is known of the objects is true: they can be read, written over and removed.
        #expect(try await life.contents("new/b") == contents["b"])
        let top = try await life.lookup("new")
        try await write(life, [9], to: "a", in: top)
        let (mount, request) = (life.mount, life.request())
        try await life.call { mount.unlink(request, "b", in: top, $0) }.get()
        try await life.drain()
        #expect(life.published == ["new/a": [9], "new/sub/c": contents["sub/c"] ?? []])
        #expect(life.mount.status.conflicts.isEmpty)
        #expect(life.overlooked == 0)
    }

    @Test func whereTheBucketHasNoFoldersEachObjectIsMoved() async throws {
        let life = try WriteBackLife(seed: 82)
        let top = try await directory(life, "old", in: .root)
        for name in ["a", "b"] { try await write(life, [1], to: name, in: top) }
        try await life.drain()
        try await rename(life, "old", "new")
        try await life.drain()
        #expect(life.published == ["new/a": [1], "new/b": [1]])
        // It is asked once.
        try await rename(life, "new", "third")
        try await life.drain()
        #expect(life.published == ["third/a": [1], "third/b": [1]])
        #expect(count(life, .renameFolder) == 0 && count(life, .layout) == 1 && count(life, .move) == 4)
    }

    /// Somebody else has made the folder meanwhile, and put something into it or not.
    @Test(arguments: [nil, "run/new/theirs", "run/new/a"])
    func whatIsInTheWayIsNotTouchedAndEachObjectIsMoved(theirs: String?) async throws {
        let (life, contents) = try await published(83)
        try await rename(life, "old", "new")
        if let theirs {
            try life.bucket.plant(theirs, [7])
        } else {
            try life.bucket.plant("run/new/theirs", [7])
            life.bucket.remove("run/new/theirs")
        }
        try await life.drain()
        var expected = named(contents, "new")
        if theirs == "run/new/theirs" { expected["new/theirs"] = [7] }
        if theirs == "run/new/a" {
            expected["new/a.conflict-1"] = expected["new/a"]
            expected["new/a"] = [7]
        }
        #expect(life.published == expected)
        // An empty folder is in nobody's way.
        #expect((count(life, .move) == 0) == (theirs == nil))
    }

    /// A role without `storage.folders.rename` is no reason to wait for ever.
    @Test func whereFoldersMayNotBeRenamedEachObjectIsMoved() async throws {
        let (life, contents) = try await published(86)
        life.forbids = .renameFolder
        try await rename(life, "old", "new")
        try await life.drain()
        #expect(life.published == named(contents, "new"))
        #expect(count(life, .move) == 3)
    }

    @Test func deathAfterAnyStepAndLostRepliesLeaveTheDirectoryWhole() async throws {
        for loss in [0, 40] {
            var (last, isOver) = (0, false)
            while !isOver {
                let (life, contents) = try await published(84, Weather(loss: loss))
                try await rename(life, "old", "new")
                isOver = await !life.steps(last)
                try life.die()
                try await life.drain()
                #expect(life.published == named(contents, "new"), "loss \(loss), after \(last)")
                #expect(life.mount.status.conflicts.isEmpty, "loss \(loss), after \(last)")
                #expect(try await life.contents("new/sub/c") == contents["sub/c"], "loss \(loss), after \(last)")
                last += 1
            }
            #expect(last > 2)
        }
    }

    /// A reader finds the object under its new name, however late the answer to the rename is.
    @Test func whoReadsMeanwhileWaitsForTheFolder() async throws {
        let (life, contents) = try await published(85, Weather(loss: 100))
        let (mount, node) = (life.mount, try await life.lookup("old/b"))
        try await rename(life, "old", "new")
        for _ in 0..<100 where life.published.keys.contains("old/b") { await life.step() }
        #expect(life.published["new/b"] == contents["b"])
        let opening = life.request()
        let file = try await life.call { mount.open(opening, node, .read, truncates: false, $0) }.get()
        let (reading, bytes) = (life.request(), Lock<[UInt8]?>(nil))
        mount.read(reading, file.handle, at: 0, count: 1000) { result in
            let found = (try? result.get())?.flatMap { Array($0) } ?? []
            bytes.withLock { $0 = found }
        }
        life.weather = Weather()
        // The read is among the work, and waits for the rest of it.
        while bytes.withLock({ $0 == nil }) {
            if let work = life.pending.take(0) { Task { await work() } }
            await Task.yield()
        }
        #expect(bytes.withLock { $0 } == contents["b"])
    }

    /// Directories that are renamed again and again, in and out of each other, while files in them are written, with deaths.
    @Test func whateverIsRenamedMeanwhileTheBucketFollows() async throws {
        var renamed = 0
        for seed in SeedSlice.first(40, ofSoak: 2000) {
            var (life, contents) = try await published(seed, Weather(loss: 10, refusal: 10))
            var name = "old"
            for round in 0..<8 {
                let next = ["old", "new", "third"][life.below(3)]
                if next != name { try await rename(life, name, next) }
                name = next
                let top = try await life.lookup(name)
                let bytes = life.random.bytes(1 + life.below(100))
                switch life.below(4) {
                case 0:
                    try await write(life, bytes, to: "a", in: top)
                    contents["a"] = bytes
                case 1:
                    try await write(life, bytes, to: "n\(round)", in: top)
                    contents["n\(round)"] = bytes
                case 2: if life.chance(50) { try life.die() }
                default: break
                }
                for _ in 0..<life.below(30) where life.pending.count > 0 { await life.step() }
                // Work is done one after the other here, and a read waits for what is on its way to another name.
                let isMoving = life.mount.core.withLock { core in
                    let names = core.engine.state.names
                    return !names.busyFolders.isEmpty || names.files.contents.values.contains { $0.isBusy }
                }
                if isMoving { continue }
                #expect(try await life.contents("\(name)/b") == contents["b"], "seed \(seed)")
            }
            try await life.drain()
            #expect(life.published == named(contents, name), "seed \(seed)")
            #expect(life.mount.status.conflicts.isEmpty, "seed \(seed)")
            renamed += count(life, .renameFolder)
        }
        #expect(renamed > 20)
    }
}
