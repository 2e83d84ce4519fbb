import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import WriteBack

/// What a mount makes of a disk that fails, is full, loses files or flips bits.
@Suite struct WriteBackDiskTests {
    private func write(_ life: WriteBackLife, _ name: String, _ bytes: [UInt8]) async throws -> TreeHandle {
        let handle = try await life.create(name)
        try await life.write(bytes, handle, at: 0)
        return handle
    }

    private func stagingName(_ life: WriteBackLife, _ handle: TreeHandle) throws -> String {
        let node = try #require(handle.node.nameNode)
        let number = life.mount.core.withLock { $0.engine.state.files[node]?.staging }
        return StagingNames.name(try #require(number))
    }

    @Test func aFailedSynchronizationIsToldEachTimeAlsoByTheNextProcess() async throws {
        let life = try WriteBackLife(seed: 51)
        let handle = try await write(life, "a", [1, 2, 3])
        life.disk.set(.init(failedSynchronization: life.disk.synchronizations.count))
        await #expect(throws: Errno.inputOutput) { try await life.synchronize(handle) }
        life.disk.set(.init())
        await #expect(throws: Errno.inputOutput) { try await life.synchronize(handle) }
        try life.die()
        await #expect(throws: Errno.inputOutput) { try await life.synchronize(handle) }
        // What the kernel has is still the content: published whole, nothing is left to be told.
        try await life.release(handle)
        try await life.drain()
        #expect(life.published == ["a": [1, 2, 3]])
    }

    @Test func aFullDiskIsToldAndWhatItDidNotTakeCountsForNothing() async throws {
        let life = try WriteBackLife(seed: 52)
        let bytes = life.random.bytes(300)
        let handle = try await write(life, "a", bytes)
        life.disk.set(.init(capacity: 310))
        await #expect(throws: Errno.noSpace) { try await life.write(life.random.bytes(200), handle, at: 300) }
        life.disk.set(.init())
        #expect(life.mount.status.staged == 300)
        #expect(try await life.read(handle) == bytes)
        try await life.release(handle)
        try await life.drain()
        #expect(life.published == ["a": bytes])
    }

    /// Its name stays, and what stands in the bucket: the damage is told, and is no other file's.
    @Test(arguments: [false, true])
    func aStagingFileThatIsGoneOrTooShortIsDamageOfThatFileAlone(isShort: Bool) async throws {
        let life = try WriteBackLife(seed: 53)
        try life.bucket.plant("run/a", [9])
        let damaged = try await write(life, "a", [1, 2, 3])
        let whole = try await write(life, "b", [4])
        for handle in [damaged, whole] { try await life.synchronize(handle) }
        let name = try stagingName(life, damaged)
        try life.disk.directory.remove(name)
        if isShort { _ = try life.disk.directory.create(name) }
        try life.die()
        #expect(life.mount.status.damaged == 1)
        #expect(try await life.contents("a") == [9])
        #expect(try await life.contents("b") == [4])
        for handle in [damaged, whole] { try await life.release(handle) }
        try await life.drain()
        #expect(life.published == ["a": [9], "b": [4]])
    }

    @Test func aBitThatFlipsWhileTheMachineIsOffIsFoundAndNotPublished() async throws {
        let life = try WriteBackLife(seed: 54)
        let handle = try await write(life, "a", [UInt8](repeating: 1, count: 300))
        try await life.synchronize(handle)
        let name = try stagingName(life, handle)
        life.disk.flipBit(3, of: name, at: 200)
        try life.crash(.everything)
        for _ in 0..<200 where life.pending.count > 0 { await life.step() }
        #expect(life.mount.status.waiting.map(\.isTorn) == [true])
        #expect(life.published == [:])
        // Whoever writes it anew makes it good.
        let again = try await write(life, "a", [7])
        try await life.release(again)
        try await life.drain()
        #expect(life.published == ["a": [7]])
    }

    /// What was only begun is not made the content by the death of the machine: neither zeros nor nothing replaces the old bytes.
    @Test(arguments: [0, 300], [false, true])
    func whatAWriterHadOnlyBegunWhenTheMachineDiedIsNotPublished(declared: Int, isSynced: Bool) async throws {
        let life = try WriteBackLife(seed: 55)
        try life.bucket.plant("run/a", [9])
        let handle = try await life.create("a")
        var changes = AttributeChanges()
        changes.size = declared
        let (mount, request, wanted) = (life.mount, life.request(), changes)
        _ = try await life.call { mount.setAttributes(request, handle.node, wanted, through: handle, $0) }.get()
        if isSynced { try await life.synchronize(handle) }
        // A start writes a checkpoint, which must say so, too.
        try life.die()
        try life.crash(.everything)
        life.mount.update { $0.engine.drain() }
        for _ in 0..<200 where life.pending.count > 0 { await life.step() }
        // What fsync promised is a content, also without a byte.
        if isSynced { return #expect(life.published == ["a": [UInt8](repeating: 0, count: declared)]) }
        #expect(life.published == ["a": [9]])
        #expect(life.mount.status.waiting.map(\.isTorn) == [true])
        // The next writer has nothing in his way.
        let again = try await write(life, "a", [7])
        try await life.release(again)
        try await life.drain()
        #expect(life.published == ["a": [7]])
    }

    @Test func manyThreadsWriteOneFileOfARealDisk() async throws {
        let folder = try TemporaryDirectory()
        let staging = try StagingDirectory(path: folder.appending("staging"))
        let time = ManualTime(advancesOnSleep: true)
        let bucket = MemoryBucket(MemoryBucket.Options(), time: time)
        let mount = try WriteBack(
            staging.directory,
            .init(
                store: MemoryObjectStore(bucket),
                root: ObjectPrefix("run"),
                time: time,
                boot: [UInt8](repeating: 1, count: 16),
                isNewMount: true
            )
        )
        mount.begin()
        let made: TreeHandle? = try await withCheckedContinuation { continuation in
            mount.create(TreeRequest(number: 1), "a", in: .root, mode: 0o644, open: [.read, .write], .onlyNew) {
                continuation.resume(returning: $0.map { $0.file?.handle })
            }
        }.get()
        let handle = try #require(made)
        let failures = Lock(0)
        let threads = try (0..<4).map { thread in
            try NamedThread(name: "write-\(thread)") {
                for index in 0..<64 {
                    let offset = (index * 4 + thread) * 100
                    [UInt8](repeating: UInt8(index), count: 100).withUnsafeBytes { bytes in
                        mount.write(TreeRequest(number: 2), handle, bytes, at: offset) { result in
                            if case .failure = result { failures.withLock { $0 += 1 } }
                        }
                    }
                }
            }
        }
        threads.forEach { $0.join() }
        await withCheckedContinuation { continuation in
            mount.synchronize(TreeRequest(number: 3), handle, isDataOnly: false) { result in
                if case .failure = result { failures.withLock { $0 += 1 } }
                continuation.resume()
            }
        }
        await withCheckedContinuation { continuation in
            mount.release(TreeRequest(number: 4), handle) { _ in continuation.resume() }
        }
        #expect(failures.withLock { $0 } == 0)
        while !mount.status.isSettled { _ = await mount.drain(within: .seconds(60)) }
        #expect(bucket.bytes("run/a") == (0..<64).flatMap { [UInt8](repeating: UInt8($0), count: 400) })
        mount.close()
    }
}
