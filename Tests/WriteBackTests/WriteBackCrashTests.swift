import Checksums
import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import WriteBack

/// Files that are written and synchronized on a disk that forgets whatever was not, at a death of the machine.
private final class CrashLife {
    struct Open {
        var handle: TreeHandle
        var path: String
        var bytes: [UInt8]
    }

    let life: WriteBackLife
    var open: [Open] = []
    /// What fsync has said is safe, and nobody has touched since.
    var promised: [String: [UInt8]] = [:]
    /// What each file was like at some time: nothing else may be seen in the bucket.
    var states: Set<[UInt8]> = [[]]
    var complaints: [String] = []

    init(seed: UInt64, _ options: WriteBackOptions = WriteBackLife.options()) throws {
        life = try WriteBackLife(seed: seed, Weather(loss: 5, refusal: 5, shortening: 5), options)
    }

    /// One thing that an application does. Throws when the machine has died.
    func operate() async throws(Errno) {
        switch life.below(10) {
        case 9: try await truncate()
        case 0, 1:
            let path = ["a", "b", "c", "d"][life.below(4)]
            if open.contains(where: { $0.path == path }) || open.count > 3 { return }
            promised[path] = nil
            let handle = try await life.create(path)
            open.append(Open(handle: handle, path: path, bytes: []))
        case 2, 3, 4: try await write()
        case 5, 6:
            guard !open.isEmpty else { return }
            let file = open[life.below(open.count)]
            try await life.synchronize(file.handle)
            promised[file.path] = file.bytes
        case 7:
            guard !open.isEmpty else { return }
            let file = open.remove(at: life.below(open.count))
            try await life.release(file.handle)
        default:
            let path = ["a", "b", "c", "d"][life.below(4)]
            if open.contains(where: { $0.path == path }) { return }
            promised[path] = nil
            let (mount, request) = (life.mount, life.request())
            let result = await life.call { mount.unlink(request, path, in: .root, $0) }
            if case .failure(let error) = result, error != .noEntry { throw error }
        }
    }

    private func write() async throws(Errno) {
        guard !open.isEmpty else { return }
        let index = life.below(open.count)
        let offset = life.below(3) > 0 ? open[index].bytes.count : life.below(400)
        let bytes = life.random.bytes(1 + life.below(150))
        promised[open[index].path] = nil
        var content = open[index].bytes
        content += [UInt8](repeating: 0, count: max(0, offset + bytes.count - content.count))
        content.replaceSubrange(offset..<(offset + bytes.count), with: bytes)
        open[index].bytes = content
        states.insert(content)
        try await life.write(bytes, open[index].handle, at: offset)
    }

    private func truncate() async throws(Errno) {
        guard !open.isEmpty else { return }
        let index = life.below(open.count)
        let (size, old) = (life.below(400), open[index].bytes)
        promised[open[index].path] = nil
        open[index].bytes = old.prefix(size) + [UInt8](repeating: 0, count: max(0, size - old.count))
        states.insert(open[index].bytes)
        var changes = AttributeChanges()
        changes.size = size
        let (mount, request, handle, wanted) = (life.mount, life.request(), open[index].handle, changes)
        _ = try await life.call {
            mount.setAttributes(request, handle.node, wanted, through: handle, $0)
        }.get()
    }

    func check(_ when: String) {
        for (name, bytes) in life.published where !states.contains(bytes) {
            complaints.append("\(when): '\(name)' shows \(bytes.count) bytes that it never was")
        }
    }

    /// Lives until the machine dies, comes back, and looks what is there.
    func live(_ operations: Int, diesWithin changes: Int) async throws {
        life.disk.set(.init(diesAtChange: life.disk.changes + life.below(changes)))
        for _ in 0..<operations where !life.disk.isDead {
            do throws(Errno) { try await operate() } catch { break }
            for _ in 0..<life.below(5) where !life.disk.isDead { await life.step() }
            check("before")
        }
        open = []
        let choice = life.below(4)
        try life.crash(choice == 0 ? .nothing : choice == 1 ? .everything : .anySubset(seed: life.random.next()))
        for (path, bytes) in promised.sorted(by: { $0.key < $1.key }) {
            let read = try? await life.contents(path)
            if read != bytes { complaints.append("'\(path)' was synced, and reads \(read?.count ?? -1) bytes") }
        }
        try await settle()
    }

    /// What nobody was promised goes; the rest goes into the bucket.
    private func settle() async throws {
        for path in ["a", "b", "c", "d"] where promised[path] == nil {
            let (mount, request) = (life.mount, life.request())
            _ = await life.call { mount.unlink(request, path, in: .root, $0) }
        }
        try await life.drain()
        check("after")
        let published = life.published
        for (path, bytes) in promised where published[path] != bytes {
            complaints.append("'\(path)' was synced, and \(published[path]?.count ?? -1) bytes are published")
        }
        if life.bucket.uploadedBytes.repeated > 0 { complaints.append("acknowledged bytes were sent twice") }
        life.mount.update { $0.engine.isDraining = false }
    }
}

@Suite struct WriteBackCrashTests {
    @Test func whateverTheMachineForgetsSyncedBytesAreThereAndNothingTornIsVisible() async throws {
        for seed in SeedSlice.first(80, ofSoak: 3000) {
            let world = try CrashLife(seed: 7000 + seed)
            for _ in 0..<5 { try await world.live(40, diesWithin: 90) }
            #expect(world.complaints.isEmpty, "seed \(7000 + seed)")
        }
    }

    /// The proof that the test above would see it: each synchronization of one row of operations is left out in turn.
    @Test func aSynchronizationThatIsLeftOutIsNoticed() async throws {
        var noticed = 0
        for skipped in 0..<24 {
            var found = false
            for seed in UInt64(0)..<6 where !found {
                let life = try WriteBackLife(seed: seed)
                let before = life.disk.synchronizations.count
                life.disk.set(.init(skippedSynchronization: before + skipped))
                var safe: [String: [UInt8]] = [:]
                for number in 0..<8 {
                    let handle = try await life.create("f\(number)")
                    let bytes = life.random.bytes(200)
                    try await life.write(bytes, handle, at: 0)
                    try await life.synchronize(handle)
                    safe["f\(number)"] = bytes
                    // The next one would make good for it.
                    if life.disk.synchronizations.count > before + skipped { break }
                }
                try life.crash(.nothing)
                for (path, bytes) in safe where (try? await life.contents(path)) != bytes { found = true }
            }
            if found { noticed += 1 }
        }
        #expect(noticed == 24)
    }
}
