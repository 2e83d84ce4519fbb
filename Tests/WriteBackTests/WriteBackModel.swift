import LinuxPlatform
import ObjectStorage
import TestSupport
import Testing

@testable import WriteBack

/// What applications believe in: a plain tree, beside a mount that dies and comes back. Each call is made until it is answered,
/// as the kernel does: once to a process that dies with it, then again, marked, to the next.
final class WriteBackModel {
    final class Inode {
        var bytes: [UInt8] = []
        var writers = 0
        var mode: UInt16 = 0o644
    }

    struct Open {
        var handle: TreeHandle
        var inode: Inode
    }

    let life: WriteBackLife
    var files: [String: Inode] = [:]
    var open: [Open] = []
    /// Contents that were whole at some time: nothing else may ever be seen in the bucket.
    var whole: Set<[UInt8]> = [[]]
    /// Chances out of 100 of a death during a call, and after a step.
    var deathsInCalls = 0
    var deathsInSteps = 0
    var directories: [String: TreeNode] = ["": .root]
    var complaints: [String] = []

    static let names = ["a", "b", "c", "d/a", "d/b", "e/a"]

    init(_ life: WriteBackLife) { self.life = life }

    func begin() async throws {
        for name in ["d", "e"] {
            let (mount, request) = (life.mount, life.request())
            let made = try await life.call { mount.makeDirectory(request, name, in: .root, mode: 0o755, $0) }.get()
            directories[name] = made.attributes.node
        }
    }

    // MARK: Calls that are answered once

    /// Makes a call; when the process dies with it, makes it again to the next.
    func call<Value: Sendable>(
        _ body: (WriteBack, TreeRequest, @escaping @Sendable (Result<Value, Errno>) -> Void) -> Void
    ) async throws -> Result<Value, Errno> {
        if life.chance(deathsInCalls) {
            life.disk.set(.init(diesAtChange: life.disk.changes + life.below(3)))
        }
        var request = life.request()
        while true {
            let (mount, now) = (life.mount, request)
            let result = await life.call { body(mount, now, $0) }
            guard life.disk.isDead else {
                life.disk.set(.init())
                return result
            }
            try life.die()
            // The answer was on its way before the death, or it was not.
            if case .success = result { return result }
            request = life.request(now.number)
        }
    }

    func step() async throws {
        await life.step()
        if life.disk.isDead || life.chance(deathsInSteps) { try life.die() }
        check()
    }

    /// Nothing torn is visible, and no change was overlooked.
    func check() {
        let overlooked = life.overlooked
        if overlooked > 0 { complaints.append("\(overlooked) things to do were overlooked") }
        for (name, bytes) in life.published where !whole.contains(bytes) {
            complaints.append("'\(name)' shows \(bytes.count) bytes that were never whole")
        }
        if life.mount.status.unacknowledged > life.options.window { complaints.append("more than the window") }
    }

    private func split(_ path: String) -> (directory: TreeNode, name: String) {
        let parts = path.split(separator: "/").map(String.init)
        return (directories[parts.count > 1 ? parts[0] : ""] ?? .root, parts[parts.count - 1])
    }

    private func anyName() -> String { Self.names[life.below(Self.names.count)] }

    private func expect(_ error: Errno?, _ expected: Errno?, _ what: String) {
        if error != expected {
            complaints.append("\(what): \(String(describing: error)), not \(String(describing: expected))")
        }
    }

    private func settle(_ inode: Inode) { if inode.writers == 0 { whole.insert(inode.bytes) } }

    /// Something that an application does.
    func operate() async throws {
        switch life.below(14) {
        case 0, 1, 2: try await create()
        case 3, 4, 5, 6: try await write()
        case 7: try await truncate()
        case 8, 9: try await close()
        case 10: try await rename()
        case 11, 12: try await changeMode()
        default: life.below(2) == 0 ? try await unlink() : try await synchronizeOrRead()
        }
    }

    private func create() async throws {
        if open.count > 5 { return }
        let path = anyName()
        let (directory, name) = split(path)
        let rule: CreateRule = [.onlyNew, .open, .openTruncated][life.below(3)]
        let result = try await call { mount, request, done in
            mount.create(request, name, in: directory, mode: 0o644, open: [.read, .write], rule) { result in
                done(result.map(\.file))
            }
        }
        switch result {
        case .failure(let error): expect(error, files[path] != nil && rule == .onlyNew ? .exists : nil, "create")
        case .success(let file):
            if files[path] != nil, rule == .onlyNew { complaints.append("O_EXCL found '\(path)' missing") }
            guard let handle = file?.handle else { return complaints.append("no handle") }
            let inode = files[path] ?? Inode()
            if rule == .openTruncated { inode.bytes = [] }
            inode.writers += 1
            files[path] = inode
            open.append(Open(handle: handle, inode: inode))
        }
    }

    private func write() async throws {
        guard !open.isEmpty else { return }
        let file = open[life.below(open.count)]
        let isAppended = life.below(4) > 0
        let offset = isAppended ? file.inode.bytes.count : life.below(400)
        let bytes = life.random.bytes(1 + life.below(120))
        let result = try await call { mount, request, done in
            bytes.withUnsafeBytes { mount.write(request, file.handle, $0, at: offset, done) }
        }
        expect(result.error, nil, "write")
        let old = file.inode.bytes
        file.inode.bytes += [UInt8](repeating: 0, count: max(0, offset + bytes.count - old.count))
        file.inode.bytes.replaceSubrange(offset..<(offset + bytes.count), with: bytes)
    }

    private func truncate() async throws {
        guard !open.isEmpty else { return }
        let file = open[life.below(open.count)]
        var changes = AttributeChanges()
        let size = life.below(300)
        changes.size = size
        let wanted = changes
        let result = try await call { mount, request, done in
            mount.setAttributes(request, file.handle.node, wanted, through: file.handle) { done($0.map { _ in }) }
        }
        expect(result.error, nil, "truncate")
        let old = file.inode.bytes
        file.inode.bytes = old.prefix(size) + [UInt8](repeating: 0, count: max(0, size - old.count))
    }

    func close() async throws {
        guard !open.isEmpty else { return }
        let file = open.remove(at: life.below(open.count))
        // Before the call: the mount may publish before it answers.
        file.inode.writers -= 1
        settle(file.inode)
        let result = try await call { mount, request, done in mount.release(request, file.handle, done) }
        expect(result.error, nil, "release")
    }

    private func rename() async throws {
        let (old, new) = (anyName(), anyName())
        let (from, name) = split(old)
        let (to, newName) = split(new)
        let rule: RenameRule = life.below(4) == 0 ? .keep : .replace
        let result = try await call { mount, request, done in
            mount.rename(request, name, in: from, to: newName, in: to, rule, done)
        }
        let expected: Errno? = files[old] == nil ? .noEntry : files[new] != nil && rule == .keep ? .exists : nil
        expect(result.error, expected, "rename \(old) \(new)")
        if expected == nil, old != new, let inode = files.removeValue(forKey: old) { files[new] = inode }
    }

    private func changeMode() async throws {
        let path = anyName()
        guard let inode = files[path] else { return }
        var changes = AttributeChanges()
        changes.mode = UInt16(life.below(512))
        inode.mode = changes.mode ?? 0
        let (node, wanted) = (try await life.lookup(path), changes)
        let result = try await call { mount, request, done in
            mount.setAttributes(request, node, wanted, through: nil) { done($0.map { _ in }) }
        }
        expect(result.error, nil, "chmod \(path)")
    }

    private func unlink() async throws {
        let path = anyName()
        let (directory, name) = split(path)
        let result = try await call { mount, request, done in mount.unlink(request, name, in: directory, done) }
        expect(result.error, files[path] == nil ? .noEntry : nil, "unlink \(path)")
        files[path] = nil
    }

    private func synchronizeOrRead() async throws {
        guard !open.isEmpty else { return }
        let file = open[life.below(open.count)]
        if life.below(2) == 0 {
            let result = try await call { mount, request, done in
                mount.synchronize(request, file.handle, isDataOnly: false, done)
            }
            return expect(result.error, nil, "fsync")
        }
        let result: Result<[UInt8], Errno> = try await call { mount, request, done in
            mount.read(request, file.handle, at: 0, count: 2000) { done($0.map { $0.flatMap { Array($0) } }) }
        }
        if (try? result.get()) != file.inode.bytes { complaints.append("a read shows other bytes: \(result)") }
    }

    /// Closes all, lets everything go into the bucket, and compares.
    func finish() async throws {
        (deathsInCalls, deathsInSteps) = (0, 0)
        life.weather = Weather()
        life.disk.set(.init())
        while !open.isEmpty { try await close() }
        try await life.drain()
        check()
        let expected = files.mapValues(\.bytes)
        let published = life.published
        for path in Set(expected.keys).union(published.keys).sorted() where expected[path] != published[path] {
            complaints.append(
                "'\(path)': \(published[path]?.count ?? -1) bytes in the bucket, \(expected[path]?.count ?? -1) expected"
            )
        }
        for (path, bytes) in expected where (try? await life.contents(path)) != bytes {
            complaints.append("'\(path)' reads other bytes")
        }
        for (path, inode) in files {
            let (shown, described) = (try await life.attributes(path), life.described(path))
            if shown.mode != inode.mode || described?.mode != inode.mode || described?.modified != shown.modified {
                complaints.append("'\(path)' has other attributes in the bucket than here")
            }
        }
        let calls = life.store.calls.count
        for _ in 0..<1000 where life.pending.count > 0 { await life.step() }
        if life.pending.count > 0 { complaints.append("work that never ends") }
        if life.store.calls.count != calls { complaints.append("requests after everything was settled") }
        if life.bucket.uploadedBytes.repeated > 0 { complaints.append("acknowledged bytes were sent twice") }
    }
}

extension Result {
    /// Nil for a success.
    var error: Failure? { if case .failure(let error) = self { error } else { nil } }
}
