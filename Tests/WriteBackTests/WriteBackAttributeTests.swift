import LinuxPlatform
import Manifests
import ObjectStorage
import TestSupport
import Testing

@testable import WriteBack

@Suite struct WriteBackAttributeTests {
    /// A file that stands in the bucket, in a mount that does not end.
    private func published(
        _ seed: UInt64,
        _ weather: Weather = Weather(),
        _ bytes: [UInt8] = [1, 2, 3]
    ) async throws -> WriteBackLife {
        let life = try WriteBackLife(seed: seed, weather)
        let handle = try await life.create("a")
        try await life.write(bytes, handle, at: 0)
        try await life.release(handle)
        try await life.drain()
        life.mount.update { $0.engine.isDraining = false }
        return life
    }

    private func settle(_ life: WriteBackLife) async throws {
        for _ in 0..<5000 where !life.mount.status.isSettled || life.pending.count > 0 { await life.step() }
        try #require(life.mount.status.isSettled)
    }

    private func patches(_ life: WriteBackLife) -> Int { life.store.calls.count { $0.operation == .patch } }

    /// As rsync does, which sets mode and time after close(2).
    @Test func whatAFileGetsAfterItsPublicationReachesTheBucket() async throws {
        for size in [3, 700] {
            let life = try await published(1, Weather(), [UInt8](repeating: 7, count: size))
            let before = try #require(life.bucket.objects.first)
            var changes = AttributeChanges()
            (changes.user, changes.modified) = (7, .at(UnixTime(nanoseconds: 123_456_789)))
            let (mount, node, request, wanted) = (life.mount, try await life.lookup("a"), life.request(), changes)
            _ = try await life.call { mount.setAttributes(request, node, wanted, through: nil, $0) }.get()
            try await life.setMode("a", 0o751)
            #expect(!life.mount.status.isSettled)
            try await settle(life)
            let described = try #require(life.described("a"))
            #expect(described.mode == 0o751)
            #expect(described.user == 7)
            #expect(described.modified == UnixTime(nanoseconds: 123_456_789))
            let after = try #require(life.bucket.objects.first)
            #expect(after.generation == before.generation)
            #expect(after.metadata[MetadataKey.operation] == before.metadata[MetadataKey.operation])
        }
    }

    @Test func changesOfAMomentAreOneRequestAndWhatChangesNothingIsNone() async throws {
        let life = try await published(2)
        for mode: UInt16 in [0o600, 0o640, 0o755, 0o751] { try await life.setMode("a", mode) }
        try await settle(life)
        #expect(life.described("a")?.mode == 0o751)
        #expect(patches(life) == 1)
        let calls = life.store.calls.count
        try await life.setMode("a", 0o751)
        var changes = AttributeChanges()
        changes.accessed = .now
        let (mount, node, request, wanted) = (life.mount, try await life.lookup("a"), life.request(), changes)
        _ = try await life.call { mount.setAttributes(request, node, wanted, through: nil, $0) }.get()
        #expect(life.mount.status.isSettled)
        try await settle(life)
        #expect(life.store.calls.count == calls)
    }

    private func setExtended(_ life: WriteBackLife, _ name: String, _ value: [UInt8]) async throws {
        let (mount, node, request) = (life.mount, try await life.lookup("a"), life.request())
        try await life.call { mount.setExtendedAttribute(request, node, name, value, .any, $0) }.get()
    }

    @Test func extendedAttributesAreInTheBucketAndGoFromThere() async throws {
        let life = try await published(7)
        let text: [UInt8] = Array("caf\u{e9}".utf8)
        try await setExtended(life, "user.note", text)
        try await setExtended(life, "user.bytes", [UInt8](0...255))
        try await settle(life)
        #expect(
            life.described("a")?.extended == [
                .init(name: "user.bytes", value: [UInt8](0...255)), .init(name: "user.note", value: text),
            ]
        )
        // As much as is taken fits.
        try await setExtended(life, "user.bytes", [UInt8](repeating: 9, count: 4096 - 9 - text.count - 10))
        try await settle(life)
        #expect(life.described("a")?.extended.first?.value.count == 4077 - text.count)
        for name in ["user.note", "user.bytes"] {
            let (mount, node, request) = (life.mount, try await life.lookup("a"), life.request())
            try await life.call { mount.removeExtendedAttribute(request, node, name, $0) }.get()
        }
        try await settle(life)
        #expect(life.described("a")?.extended == [])
    }

    @Test func nonsenseInTheMetadataIsNoAttribute() async throws {
        let life = try await published(8)
        try await setExtended(life, "user.a", [1, 2, 3])
        try await setExtended(life, "user.b", [4])
        try await settle(life)
        var object = try #require(life.bucket.objects.first { $0.name.value == "run/a" })
        let good = try #require(object.metadata["penstock-xattrs"])
        var random = SeededRandom(seed: 8)
        var found = 0
        for _ in 0..<20_000 {
            var bytes = Array(good.utf8)
            for _ in 0...(random.next() % 3) {
                bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next() % 128)
            }
            if random.next() % 4 == 0 { bytes.removeLast(Int(random.next() % UInt64(bytes.count))) }
            object.metadata["penstock-xattrs"] = String(decoding: bytes, as: UTF8.self)
            let extended = ObjectMetadata.decoded(object, now: UnixTime(seconds: 0)).extended
            found += extended.isEmpty ? 0 : 1
            #expect(extended.allSatisfy { $0.name.value.hasPrefix("user.") && $0.value.count < 64 })
        }
        #expect((1...19_000).contains(found))
        object.metadata["penstock-xattrs"] = String(repeating: "A", count: 100_000)
        #expect(ObjectMetadata.decoded(object, now: UnixTime(seconds: 0)).extended == [])
    }

    @Test func whatAFileGetsBeforeItsPublicationCostsNoRequestOfItsOwn() async throws {
        let life = try WriteBackLife(seed: 3)
        let handle = try await life.create("a")
        try await life.write([1, 2, 3], handle, at: 0)
        try await life.setMode("a", 0o751)
        try await life.release(handle)
        try await life.drain()
        #expect(life.described("a")?.mode == 0o751)
        #expect(life.store.calls.map(\.operation) == [.list, .put])
    }

    /// The process dies after each step in turn, and replies are lost: exactly the last attributes stand in the bucket.
    @Test func deathAfterAnyStepOfAPatchLosesNoAttributes() async throws {
        for last in 0..<12 {
            for seed in UInt64(0)..<6 {
                let life = try await published(seed, Weather(loss: seed < 3 ? 0 : 30))
                try await life.setMode("a", 0o600)
                for _ in 0..<last { await life.step() }
                try await life.setMode("a", 0o751)
                for _ in 0..<(last / 2) { await life.step() }
                try life.die()
                // The second start reads what the first one has written anew.
                try life.die()
                try await settle(life)
                #expect(life.described("a")?.mode == 0o751, "after \(last), seed \(seed)")
                #expect(try await life.attributes("a").mode == 0o751, "after \(last), seed \(seed)")
            }
        }
    }

    /// After the machine died the mount and the bucket say the same, whichever change it was.
    @Test func theBucketNeverHasAttributesThatTheNextMountDoesNotKnow() async throws {
        for last in 0..<12 {
            let life = try await published(UInt64(40 + last))
            try await life.setMode("a", 0o600)
            for _ in 0..<last { await life.step() }
            try life.crash(.nothing)
            try await settle(life)
            let shown = try await life.attributes("a")
            #expect(life.described("a")?.mode == shown.mode, "after \(last)")
            #expect(last < 6 || shown.mode == 0o600, "after \(last)")
        }
    }

    @Test func whatOthersWroteIsNotGivenOurAttributes() async throws {
        let life = try await published(5)
        let theirs = try life.bucket.plant("run/a", [9])
        try await life.setMode("a", 0o751)
        try await settle(life)
        #expect(life.bucket.objects == [theirs])
        #expect(patches(life) == 0)
    }

    @Test func anotherChangeOfTheMetadataStaysAndOursComesAfterIt() async throws {
        let life = try await published(6)
        try await life.setMode("a", 0o751)
        let object = try #require(life.bucket.objects.first)
        let others = MemoryObjectStore(life.bucket)
        let isOver = Lock(false)
        for _ in 0..<1000 where life.pending.count > 0 {
            let raced = Lock(false)
            life.store.setHook { call in
                guard call.operation == .patch, call.moment == .before, !isOver.withLock({ $0 }) else { return nil }
                isOver.withLock { $0 = true }
                raced.withLock { $0 = true }
                return .fail(ObjectStoreError(.preconditionFailed, "another metageneration", status: 412))
            }
            await life.pending.take(0)?()
            guard raced.withLock({ $0 }) else { continue }
            _ = try await others.patch(object.name, object.generation, metageneration: 1, metadata: ["theirs": "1"])
        }
        try await settle(life)
        #expect(life.described("a")?.mode == 0o751)
        #expect(life.bucket.objects.first?.metadata["theirs"] == "1")
        #expect(patches(life) == 2)
    }

    @Test func aRenameInTheMomentOfAPatchLosesNoAttributes() async throws {
        for seed in UInt64(0)..<20 {
            let life = try await published(100 + seed)
            try await life.setMode("a", 0o751)
            for _ in 0..<(seed % 5) { await life.step() }
            let (mount, request) = (life.mount, life.request())
            try await life.call { mount.rename(request, "a", in: .root, to: "b", in: .root, .replace, $0) }.get()
            try await settle(life)
            #expect(life.published == ["b": [1, 2, 3]])
            #expect(life.described("b")?.mode == 0o751, "seed \(seed)")
        }
    }

    @Test func anObjectWithoutRoomForOurAttributesKeepsNobodyWaiting() async throws {
        let life = try WriteBackLife(seed: 7)
        let theirs = try life.bucket.plant("run/a", [9], metadata: ["theirs": String(repeating: "x", count: 8180)])
        try await life.setMode("a", 0o751)
        try await settle(life)
        #expect(life.bucket.objects == [theirs])
        #expect(try await life.attributes("a").mode == 0o751)
    }
}
