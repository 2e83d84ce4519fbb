import Glibc
import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import WriteBack

@Suite struct WriteBackLimitTests {
    @Test func aStagingDirectoryBelongsToOneProcess() throws {
        let folder = try TemporaryDirectory()
        let path = folder.appending("staging")
        let first = try StagingDirectory(path: path)
        #expect(throws: Errno.wouldBlock) { try StagingDirectory(path: path) }
        #expect(try FileDescriptor(path: path, flags: O_RDONLY).status().mode == 0o700)
        #expect(first.space != nil)
    }

    @Test func aWriterWaitsForRoomAndIsToldWhenNoneComes() async throws {
        let (life, first, second) = try await WriteBackLife.nearlyFull(seed: 4)
        await #expect(throws: Errno.noSpace) {
            try await life.write([UInt8](repeating: 2, count: 50), second, at: 0)
        }
        await #expect(throws: Errno.noSpace) {
            try await life.write([UInt8](repeating: 2, count: 101), second, at: 0)
        }
        try await life.release(first)
        for _ in 0..<1000 where life.mount.status.staged > 0 { await life.step() }
        #expect(life.published["a"]?.count == 90)
        // What is published has given its room back.
        try await life.write([UInt8](repeating: 2, count: 50), second, at: 0)
        try await life.release(second)
        try await life.drain()
        #expect(life.published["b"]?.count == 50)
        #expect(life.mount.status.staged == 0)
    }

    /// An unmount may throw away the release that the kernel had queued for a file that was closed just before.
    @Test func aFileWhoseReleaseNeverCameIsPublishedWhenTheMountIsGone() async throws {
        let life = try WriteBackLife(seed: 8)
        let handle = try await life.create("a")
        try await life.write([1, 2, 3], handle, at: 0)
        for _ in 0..<200 { await life.step() }
        #expect(life.published.isEmpty)
        life.mount.detach()
        try await life.drain()
        #expect(life.published == ["a": [1, 2, 3]])
        #expect(life.mount.status.isSettled)
    }

    /// The mount may have users for a moment after it has drained.
    @Test func afterTheEndNothingIsPromisedAnyMore() async throws {
        let life = try WriteBackLife(seed: 9)
        let handle = try await life.create("a")
        try await life.write([1, 2, 3], handle, at: 0)
        life.mount.close()
        await #expect(throws: Errno.inputOutput) { try await life.write([4], handle, at: 3) }
        await #expect(throws: Errno.inputOutput) { try await life.create("b") }
    }

    @Test func aDrainWithoutTimeEndsAtOnce() async throws {
        let life = try WriteBackLife(seed: 10)
        let handle = try await life.create("a")
        try await life.write([1, 2, 3], handle, at: 0)
        let status = await life.mount.drain(within: .zero)
        #expect(!status.isSettled)
        #expect(status.waiting.count == 1)
    }

    @Test func whatSomebodyElseWroteStaysAndTheStatusSaysSo() async throws {
        let life = try WriteBackLife(seed: 5)
        let handle = try await life.create("a")
        try await life.write([1, 2, 3], handle, at: 0)
        try life.bucket.plant("run/a", [9])
        try await life.release(handle)
        try await life.drain()
        #expect(life.published == ["a": [9], "a.conflict-1": [1, 2, 3]])
        #expect(life.mount.status.conflicts == ["a.conflict-1"])
    }

    @Test func withRevokedCredentialsNothingIsLostAndTheStatusSaysWhy() async throws {
        let life = try WriteBackLife(seed: 6)
        let handle = try await life.create("a")
        try await life.write([1, 2, 3], handle, at: 0)
        try await life.release(handle)
        life.mount.update { $0.engine.drain() }
        let refusal = ObjectStoreError(.forbidden, "revoked", status: 403)
        for _ in 0..<200 {
            life.store.setHook { _ in .fail(refusal) }
            guard let work = life.pending.take(0) else { break }
            await work()
            if life.mount.status.waiting.first?.failure != nil { break }
        }
        #expect(life.mount.status.waiting.first?.failure?.code == .forbidden)
        #expect(!life.mount.status.isSettled)
        life.store.setHook(nil)
        try await life.drain()
        #expect(life.published == ["a": [1, 2, 3]])
    }

    /// `gc` takes old pieces away without asking the mount: its own disk has the bytes until they are published.
    @Test func piecesThatAreTakenAwayAreSentAgain() async throws {
        let life = try WriteBackLife(seed: 7)
        let bytes = life.random.bytes(700)
        let handle = try await life.create("a")
        try await life.write(bytes, handle, at: 0)
        for _ in 0..<200 { await life.step() }
        let pieces = life.leftovers
        #expect(pieces.count > 2)
        for piece in pieces { life.bucket.remove(piece) }
        try await life.release(handle)
        try await life.drain()
        #expect(life.published == ["a": bytes])
        #expect(life.leftovers.isEmpty)
    }
}
