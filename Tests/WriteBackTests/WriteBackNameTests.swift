import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import WriteBack

@Suite struct WriteBackNameTests {
    /// One word, as two keyboards write it.
    private static let composed = "caf\u{E9}"
    private static let decomposed = "cafe\u{301}"

    private func names(_ life: WriteBackLife, after cookie: UInt64 = 0, limit: Int = 100) async throws -> [TreeListing
        .Line]
    {
        let (mount, request) = (life.mount, life.request())
        return try await life.call { mount.list(request, .root, after: cookie, limit: limit, $0) }.get().lines
    }

    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    private func write(_ life: WriteBackLife, _ name: String, _ bytes: [UInt8]) async throws {
        let handle = try await life.create(name)
        try await life.write(bytes, handle, at: 0)
        try await life.release(handle)
    }

    private func rename(_ life: WriteBackLife, _ name: String, _ newName: String) async throws {
        let (mount, request) = (life.mount, life.request())
        try await life.call { mount.rename(request, name, in: .root, to: newName, in: .root, .replace, $0) }.get()
    }

    private func unlink(_ life: WriteBackLife, _ name: String) async throws {
        let (mount, request) = (life.mount, life.request())
        try await life.call { mount.unlink(request, name, in: .root, $0) }.get()
    }

    private func objects(_ life: WriteBackLife) -> [[UInt8]] { life.bucket.names.map { bytes($0) } }

    @Test func bothSpellingsOfAWordAreFilesOfTheirOwnFromCreateToBucket() async throws {
        let life = try WriteBackLife(seed: 31)
        try await write(life, Self.composed, [1])
        try await write(life, Self.decomposed, [2])
        #expect(try await names(life).map { bytes($0.name) } == [bytes(Self.composed), bytes(Self.decomposed)])
        // Through the journal, as records and as a checkpoint.
        try life.die()
        try life.die()
        #expect(try await life.contents(Self.composed) == [1])
        #expect(try await life.contents(Self.decomposed) == [2])
        try await life.drain()
        #expect(life.bucket.bytes("run/" + Self.composed) == [1])
        #expect(life.bucket.bytes("run/" + Self.decomposed) == [2])
        // What stands in the bucket under each is known of each.
        try life.die()
        try await write(life, Self.composed, [3])
        try await life.drain()
        #expect(life.bucket.bytes("run/" + Self.composed) == [3])
        #expect(life.bucket.bytes("run/" + Self.decomposed) == [2])
        try await unlink(life, Self.decomposed)
        await #expect(throws: Errno.noEntry) { try await life.lookup(Self.decomposed) }
        #expect(try await life.contents(Self.composed) == [3])
        try await life.drain()
        #expect(objects(life) == [bytes("run/" + Self.composed)])
        // A rename to the other spelling is one, and no rename onto itself.
        try await rename(life, Self.composed, Self.decomposed)
        try await life.drain()
        #expect(objects(life) == [bytes("run/" + Self.decomposed)])
        #expect(life.mount.status.conflicts.isEmpty)
    }

    /// Another spelling in the bucket is listed beside the one that is here, and not taken for it.
    @Test func aListingOfTheBucketTellsSpellingsApart() async throws {
        let life = try WriteBackLife(seed: 32)
        for (name, byte) in [(Self.composed, UInt8(1)), (Self.decomposed, 2)] {
            try life.bucket.plant("run/\(name)", [byte])
            try life.bucket.plant("run/in-\(name)/x", [byte + 2])
        }
        let found = try await names(life).map { bytes($0.name) }
        let expected = ["in-" + Self.composed, "in-" + Self.decomposed, Self.composed, Self.decomposed]
        #expect(Set(found) == Set(expected.map { bytes($0) }) && found.count == 4)
        for (name, byte) in [(Self.composed, UInt8(1)), (Self.decomposed, 2)] {
            #expect(try await life.contents(name) == [byte])
            #expect(try await life.contents("in-\(name)/x") == [byte + 2])
        }
        // What one directory holds is its own when the other is renamed.
        try await rename(life, "in-" + Self.composed, "out")
        try await life.drain()
        #expect(life.bucket.bytes("run/out/x") == [3])
        #expect(life.bucket.bytes("run/in-\(Self.decomposed)/x") == [4])
    }

    /// A name may begin with a combining mark: to Swift's characters the slash before it is none.
    @Test func aSlashBeforeACombiningMarkPartsNames() throws {
        #expect(ByteName("a/\u{301}b").segments == ["a", "\u{301}b"])
        #expect(ByteName("").segments.isEmpty)
        var table = NameTable(parking: "p/")
        let directory = try table.makeDirectory("a", in: table.tree.root)
        let node = try table.create("\u{301}b", in: directory)
        let content = table.changed(node)
        table.ready(node, content)
        let actions = table.next()
        #expect(actions == [.publish(node, content: content, name: "a/\u{301}b", replacing: nil)])
        table.finished(actions[0], .conflict(found: Generation(9)))
        #expect(table.tree.path(node) == "a/\u{301}b.conflict-1")
    }

    @Test func extendedAttributesHaveNamesOfBytes() async throws {
        let life = try WriteBackLife(seed: 33)
        let handle = try await life.create("a")
        for (name, value) in [(Self.composed, [UInt8(1)]), (Self.decomposed, [2])] {
            let (mount, request) = (life.mount, life.request())
            try await life.call {
                mount.setExtendedAttribute(request, handle.node, "user." + name, value, .create, $0)
            }.get()
        }
        try life.die()
        for (name, value) in [(Self.composed, [UInt8(1)]), (Self.decomposed, [2])] {
            let (mount, request) = (life.mount, life.request())
            let found = try await life.call { mount.extendedAttribute(request, handle.node, "user." + name, $0) }.get()
            #expect(found == value)
        }
    }

    // MARK: Cookies

    /// Writers of checkpoints rename over `latest` again and again: whoever reads the directory meanwhile sees it once.
    @Test func aNameThatIsRenamedOverKeepsItsPlaceInListings() async throws {
        let life = try WriteBackLife(seed: 34)
        for name in ["latest", "model", "new"] { try await write(life, name, [1]) }
        let before = try await names(life)
        #expect(before.map(\.name) == ["latest", "model", "new"])
        let first = try await names(life, limit: 1)
        try await rename(life, "new", "latest")
        try life.die()
        let rest = try await names(life, after: try #require(first.last).cookie)
        #expect(rest.map(\.name) == ["model"])
        let after = try await names(life)
        #expect(after.map(\.cookie) == before.dropLast().map(\.cookie))
        // The cookie of the name that is gone is no other's.
        try await write(life, "newer", [1])
        let latest = try await names(life).last
        #expect(latest?.name == "newer")
        #expect(try #require(latest).cookie > before[2].cookie)
    }

    @Test func aDirectoryThatIsRenamedOverAnotherKeepsItsPlaceToo() throws {
        var tree = NameTree()
        let old = try tree.make("a", in: tree.root, isDirectory: true)
        let cookie = tree.entries[old]?.cookie
        let new = try tree.make("b", in: tree.root, isDirectory: true)
        _ = try tree.rename("b", in: tree.root, to: "a", in: tree.root, replaces: true)
        #expect(tree.entries[new]?.cookie == cookie)
    }

    /// Others write a name anew between two reads of the directory: it stood all the while.
    @Test func aNameThatOthersWriteAnewKeepsItsPlaceInListings() async throws {
        let life = try WriteBackLife(seed: 35)
        for name in ["a", "b"] { try life.bucket.plant("run/\(name)", [1]) }
        let before = try await names(life)
        try life.bucket.plant("run/a", [2, 3])
        life.time.advance(by: .seconds(100))
        let after = try await names(life)
        #expect(after.map(\.name) == ["a", "b"])
        #expect(after.map(\.cookie) == before.map(\.cookie))
        #expect(try await life.contents("a") == [2, 3])
        try life.die()
        #expect(try await names(life).map(\.cookie) == before.map(\.cookie))
    }

    /// Whoever asks for one name, and never lists the directory, sees what others did with it.
    @Test func aLookupSeesWhatOthersDidOnceTheListingIsOld() async throws {
        var options = WriteBackLife.options()
        options.isShared = true
        let life = try WriteBackLife(seed: 36, Weather(), options)
        for name in ["a", "b"] { try life.bucket.plant("run/\(name)", [1]) }
        #expect(try await life.attributes("a").size == 1)
        life.bucket.remove("run/a")
        try life.bucket.plant("run/b", [2, 3])
        #expect(try await life.attributes("b").size == 1)
        let calls = life.store.calls.count
        life.time.advance(by: .seconds(100))
        await #expect(throws: Errno.noEntry) { try await life.lookup("a") }
        #expect(try await life.attributes("b").size == 2)
        #expect(life.store.calls.count == calls + 1)
    }

    @Test func aNameThatSomebodyElseTookKeepsItsPlaceInListings() throws {
        var table = NameTable(parking: "p/")
        let node = try table.create("x", in: table.tree.root)
        let cookie = table.tree.entries[node]?.cookie
        table.ready(node, table.changed(node))
        table.finished(try #require(table.next().first), .conflict(found: Generation(9)))
        let theirs = try table.tree.child("x", of: table.tree.root)
        #expect(table.tree.entries[theirs]?.cookie == cookie)
        #expect(table.tree.entries[node]?.cookie != cookie)
    }
}
