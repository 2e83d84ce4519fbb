import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import WriteBack

/// What is told of directories that are whole in the bucket.
@Suite struct SettledDirectoryTests {
    private let life: WriteBackLife

    init() throws {
        var options = WriteBackLife.options()
        options.holdsBack = { TemporaryNames.isHeldBack($0) }
        life = try WriteBackLife(seed: 61, Weather(), options)
    }

    private func makeDirectory(_ name: String) async throws -> TreeNode {
        let (mount, request) = (life.mount, life.request())
        return try await life.call { mount.makeDirectory(request, name, in: .root, mode: 0o755, $0) }.get().attributes
            .node
    }

    private func publish(_ name: String, in directory: TreeNode) async throws {
        let handle = try await life.create(name, in: directory)
        try await life.write(life.random.bytes(20), handle, at: 0)
        try await life.release(handle)
        try await settle()
    }

    private func settle() async throws {
        for _ in 0..<500 where life.pending.count > 0 { await life.step() }
    }

    @Test func aDirectoryIsToldOfOnceItsFilesAreThereAndAgainWhenOthersAre() async throws {
        let directory = try await makeDirectory("step-1")
        try await publish("weights", in: directory)
        #expect(
            life.mount.takeSettledDirectories() == [
                SettledDirectory(name: "step-1", written: ["weights"], isWhole: false)
            ]
        )
        #expect(life.mount.takeSettledDirectories() == [])
        let open = try await life.create("state", in: directory)
        try await publish("more", in: directory)
        // Somebody may still write to it.
        #expect(life.mount.takeSettledDirectories() == [])
        try await life.write([1], open, at: 0)
        try await life.release(open)
        try await settle()
        #expect(life.mount.takeSettledDirectories().map(\.written) == [["more", "state", "weights"]])
    }

    @Test func aMarkerOfAnEarlierSaveCountsNoMoreOnceAFileOfItIsWrittenAnew() async throws {
        let directory = try await makeDirectory("step-1")
        for name in ["weights", "state", "marker"] { try await publish(name, in: directory) }
        // Nobody could look until the next save had begun.
        try await publish("weights", in: directory)
        #expect(life.mount.takeSettledDirectories().map(\.written) == [["weights"]])
        for name in ["state", "marker"] { try await publish(name, in: directory) }
        #expect(life.mount.takeSettledDirectories().map(\.written) == [["marker"]])
    }

    @Test func aFileThatIsWrittenAnewBeforeItWentUpIsOfTheNextSave() async throws {
        let directory = try await makeDirectory("step-1")
        for name in ["weights", "marker", "weights"] {
            let handle = try await life.create(name, in: directory)
            try await life.write(life.random.bytes(20), handle, at: 0)
            try await life.release(handle)
        }
        try await settle()
        #expect(life.mount.takeSettledDirectories().map(\.written) == [["weights"]])
    }

    @Test func whatIsRecordedIsToldOfWhenItHasChangedAndThenOnlyWhatIsNew() async throws {
        let directory = try await makeDirectory("step-1")
        for name in ["weights", "marker"] { try await publish(name, in: directory) }
        let told = try #require(life.mount.takeSettledDirectories().first)
        await life.mount.recorded(told)
        #expect(life.mount.takeSettledDirectories() == [])
        try await publish("more", in: directory)
        #expect(life.mount.takeSettledDirectories().map(\.written) == [["more"]])
    }

    @Test func whatWasNotRecordedIsToldOfByTheNextProcessAndWhatWasIsNot() async throws {
        for name in ["step-1", "step-2"] { try await publish("weights", in: try await makeDirectory(name)) }
        let told = life.mount.takeSettledDirectories()
        #expect(told.map(\.name) == ["step-1", "step-2"])
        await life.mount.recorded(told[0])
        try life.die()
        #expect(life.mount.takeSettledDirectories() == [told[1]])
        try life.crash(.everything)
        #expect(life.mount.takeSettledDirectories() == [told[1]])
    }

    @Test func aDirectoryIsNotWholeAsLongAsTheBucketHasWhatWasUnlinkedInIt() async throws {
        let directory = try await makeDirectory("step-1")
        try await publish("checkpoint-is-incomplete.txt", in: directory)
        try await publish("marker", in: directory)
        let (mount, request) = (life.mount, life.request())
        try await life.call { mount.unlink(request, "checkpoint-is-incomplete.txt", in: directory, $0) }.get()
        #expect(life.published.keys.contains("step-1/checkpoint-is-incomplete.txt"))
        #expect(life.mount.takeSettledDirectories() == [])
        try await settle()
        #expect(!life.published.keys.contains("step-1/checkpoint-is-incomplete.txt"))
        #expect(life.mount.takeSettledDirectories().map(\.written) == [["marker"]])
    }

    @Test func whatCouldNotBeLookedAtIsToldOfAgain() async throws {
        try await publish("weights", in: try await makeDirectory("step-1"))
        let told = life.mount.takeSettledDirectories()
        life.mount.giveBack(try #require(told.first))
        #expect(life.mount.takeSettledDirectories() == told)
    }

    @Test func aDirectoryThatGetsItsLastNameIsWhole() async throws {
        let directory = try await makeDirectory("7.orbax-checkpoint-tmp-1")
        try await publish("params", in: directory)
        #expect(life.mount.takeSettledDirectories() == [])
        let (mount, request) = (life.mount, life.request())
        try await life.call {
            mount.rename(request, "7.orbax-checkpoint-tmp-1", in: .root, to: "7", in: .root, .replace, $0)
        }.get()
        try await settle()
        #expect(
            life.mount.takeSettledDirectories() == [SettledDirectory(name: "7", written: ["params"], isWhole: true)]
        )
        await life.mount.recorded(SettledDirectory(name: "7", written: [], isWhole: true))
        // Named whole once: what is written later is another matter.
        try await publish("more", in: directory)
        #expect(life.mount.takeSettledDirectories().map(\.isWhole) == [false])
    }

    @Test func aDirectoryThatIsGoneIsToldOfUnlessTheNameIsTakenAgain() async throws {
        for name in ["a", "b", "c"] { _ = try await makeDirectory(name) }
        for name in ["a", "b"] {
            let (mount, request) = (life.mount, life.request())
            try await life.call { mount.removeDirectory(request, name, in: .root, $0) }.get()
        }
        let (mount, request) = (life.mount, life.request())
        try await life.call { mount.rename(request, "c", in: .root, to: "d", in: .root, .replace, $0) }.get()
        _ = try await makeDirectory("b")
        #expect(life.mount.lostNames() == ["a", "c"])
        await life.mount.withdrawn("c")
        #expect(life.mount.lostNames() == ["a"])
        try life.die()
        #expect(life.mount.lostNames() == ["a"])
    }

    @Test func aFileBesideTheDirectoriesIsNone() async throws {
        try await publish("notes", in: .root)
        #expect(life.mount.takeSettledDirectories() == [])
    }
}

/// Renames of whole directories.
@Suite struct DirectoryRenameTests {
    private func directory(_ life: WriteBackLife, _ name: String) async throws -> TreeNode {
        let (mount, request) = (life.mount, life.request())
        return try await life.call { mount.makeDirectory(request, name, in: .root, mode: 0o755, $0) }.get().attributes
            .node
    }

    private func rename(_ life: WriteBackLife, _ old: String, _ new: String) async throws(Errno) {
        let (mount, request) = (life.mount, life.request())
        try await life.call { mount.rename(request, old, in: .root, to: new, in: .root, .replace, $0) }.get()
    }

    @Test func oneThatWasMadeHereIsRenamedWithoutAskingTheBucket() async throws {
        let life = try WriteBackLife(seed: 62)
        let made = try await directory(life, "a")
        var open: [TreeHandle] = []
        for number in 0..<3 { open.append(try await life.create("file-\(number)", in: made)) }
        let calls = life.store.calls.count
        try await rename(life, "a", "b")
        #expect(life.store.calls.count == calls)
        for handle in open { try await life.release(handle) }
        try await life.drain()
        #expect(life.published.keys.sorted() == ["b/file-0", "b/file-1", "b/file-2"])
    }

    @Test func whereOthersWriteOnlyWhatIsNotInTheBucketIsRenamed() async throws {
        var options = WriteBackLife.options()
        options.isShared = true
        let life = try WriteBackLife(seed: 63, Weather(), options)
        let made = try await directory(life, "a")
        let handle = try await life.create("file", in: made)
        try await rename(life, "a", "b")
        try await life.write([1], handle, at: 0)
        try await life.release(handle)
        try await life.drain()
        #expect(life.published == ["b/file": [1]])
        await #expect(throws: Errno.crossDevice) { try await rename(life, "b", "c") }
        // Also what nobody here has seen yet.
        try life.bucket.plant("run/d/theirs", [2])
        life.time.advance(by: .seconds(61))
        await #expect(throws: Errno.crossDevice) { try await rename(life, "d", "e") }
        #expect(life.published == ["b/file": [1], "d/theirs": [2]])
    }
}
