import LinuxPlatform
import TestSupport

@testable import WriteBack

/// A writer of checkpoints above a mount that is killed once, and a plain tree beside it that says what may be seen.
final class TrainerLife {
    enum Death {
        /// The process that serves dies, and the writer goes on with the next one.
        case process
        /// Everything dies, and the disk has what `remains` says.
        case machine(ForgetfulDisk.Remains)
    }

    /// The machine is dead, and the writer with it.
    struct Dead: Error {}

    final class Inode {
        var bytes: [UInt8] = []
        var writers = 0
        /// What fsync has said is safe, and the names under which it may be found: a rename is safe only when its directory is
        /// synchronized.
        var promise: (bytes: [UInt8], paths: [String])?
    }

    struct Open {
        var handle: TreeHandle
        var inode: Inode
        var offset = 0
        /// The size that its writer has given it before the bytes.
        var declared = 0
    }

    let life: WriteBackLife
    let death: Death
    var files: [String: Inode] = [:]
    var directories: [String: TreeNode] = ["": .root]
    /// Also those that have no name any more: what their uploads bring must not be seen either.
    private var open: [Int: Open] = [:]
    private var declared: [Int: Int] = [:]
    /// What the bucket may show, by name: contents that were whole while they had it.
    private var whole: [String: Set<[UInt8]>] = [:]
    /// Bytes that were written so far: no byte of them is sent twice.
    private(set) var written = 0
    private(set) var isCut = false
    private(set) var complaints: [String] = []
    /// How many promises were looked at after a death.
    private(set) var kept = 0
    private var run = 0
    private var checked = (0, 0)

    init(seed: UInt64, _ death: Death) throws {
        var options = WriteBackLife.options()
        options.holdsBack = TemporaryNames.isHeldBack
        life = try WriteBackLife(seed: seed, Weather(), options)
        self.death = death
    }

    private func complain(_ what: String) { if complaints.count < 5 { complaints.append(what) } }

    // MARK: Calls

    /// Makes a call until it is answered; when the process dies with it, again, marked, to the next.
    ///
    /// - Throws: `Dead`, when the machine dies.
    private func call<Value: Sendable>(
        _ body: (WriteBack, TreeRequest, @escaping @Sendable (Result<Value, Errno>) -> Void) -> Void
    ) async throws -> Value {
        var request = life.request()
        while true {
            let answer = Lock<Result<Value, Errno>?>(nil)
            body(life.mount, request) { result in answer.withLock { $0 = result } }
            while true {
                if let result = answer.withLock({ $0 }) {
                    // An error of a dead process is nobody's answer.
                    if case .failure = result, life.isDead { break }
                    return try result.get()
                }
                if life.isDead { break }
                if life.pending.count > 0 { try await step() } else { await Task.yield() }
            }
            try die()
            request = life.request(request.number)
        }
    }

    /// Does something of what the mount has started.
    private func step() async throws {
        await life.step()
        check()
    }

    private func die() throws {
        isCut = true
        switch death {
        case .process: try life.die()
        case .machine: throw Dead()
        }
    }

    /// Nothing torn is visible, and nothing that is to get another name.
    func check() {
        if life.mostUnacknowledged > life.options.window { complain("more than the window is unacknowledged") }
        // Most steps ask the bucket nothing.
        let calls = (life.deaths, life.store.calls.count)
        if calls == checked { return }
        checked = calls
        for (name, bytes) in life.published {
            if TemporaryNames.isHeldBack(name) { complain("'\(name)' is visible") }
            if whole[name]?.contains(bytes) != true {
                complain("'\(name)' shows \(bytes.count) bytes that were never whole under this name")
            }
        }
        if life.bucket.uploadedBytes.repeated > 0 { complain("acknowledged bytes were sent twice") }
    }

    // MARK: The writer

    /// Plays the calls, some work of the mount between any two of them.
    ///
    /// - Parameter limit: so many of them.
    func play(_ calls: [TrainerCall], limit: Int = .max) async throws {
        run += 1
        for case .write(let file, let count) in calls { declared[file, default: 0] += count }
        for call in calls.prefix(limit) {
            try await make(call)
            for _ in 0..<life.below(4) {
                try await step()
                if life.isDead { try die() }
            }
        }
        declared = [:]
    }

    /// Temporary names are random: another run has others.
    private func own(_ path: String) -> String { path.contains(".tmp") && !isKnown(path) ? "\(path)\(run)" : path }

    private func isKnown(_ path: String) -> Bool { path.hasSuffix(".metadata.tmp") }

    private func split(_ path: String) -> (directory: TreeNode, name: String) {
        let parts = path.split(separator: "/")
        return (directories[parts.dropLast().joined(separator: "/")] ?? .root, parts.last.map(String.init) ?? "")
    }

    private func make(_ call: TrainerCall) async throws {
        switch call {
        case .makeDirectory(let path): try await makeDirectory(path)
        case .open(let file, let path, let isNew, let truncates):
            try await open(file, own(path), isNew ? .onlyNew : truncates ? .openTruncated : .open)
        case .declare(let file): try await declare(file)
        case .write(let file, let count): try await write(file, count)
        case .synchronize(let file): try await synchronize(file)
        case .synchronizeDirectory(let path): try await synchronizeDirectory(path)
        case .close(let file): try await close(file)
        case .rename(let old, let new): try await rename(own(old), to: new)
        case .unlink(let path): try await unlink(path)
        case .link(let path, let target): try await link(path, target)
        case .removeTree(let path): try await removeTree(path)
        }
    }

    private func makeDirectory(_ path: String) async throws {
        if directories[path] != nil { return }
        let (directory, name) = split(path)
        let made: TreeEntry = try await call { mount, request, done in
            mount.makeDirectory(request, name, in: directory, mode: 0o755, done)
        }
        directories[path] = made.attributes.node
    }

    private func open(_ file: Int, _ path: String, _ rule: CreateRule) async throws {
        let (directory, name) = split(path)
        // If the machine dies before the first byte is written, a new file is an empty one.
        if isOfMachine, files[path] == nil { whole[path, default: []].insert([]) }
        let inode = files[path] ?? Inode()
        if rule == .openTruncated { (inode.bytes, inode.promise) = ([], nil) }
        inode.writers += 1
        files[path] = inode
        let made: TreeFile? = try await call { mount, request, done in
            mount.create(request, name, in: directory, mode: 0o644, open: [.read, .write], rule) { result in
                done(result.map(\.file))
            }
        }
        guard let made else { return complain("no handle of '\(path)'") }
        open[file] = Open(handle: made.handle, inode: inode)
    }

    private var isOfMachine: Bool { if case .machine = death { true } else { false } }

    private func declare(_ file: Int) async throws {
        guard let handle = open[file]?.handle else { return complain("not open") }
        open[file]?.declared = declared[file] ?? 0
        var changes = AttributeChanges()
        changes.size = declared[file]
        let wanted = changes
        let _: TreeEntry = try await call { mount, request, done in
            mount.setAttributes(request, handle.node, wanted, through: handle, done)
        }
    }

    private func write(_ file: Int, _ count: Int) async throws {
        guard let (handle, offset) = open[file].map({ ($0.handle, $0.offset) }) else { return complain("not open") }
        let bytes = life.random.bytes(count)
        let inode = open[file]?.inode
        inode?.promise = nil
        let old = inode?.bytes ?? []
        inode?.bytes = old.prefix(offset) + bytes + old.dropFirst(offset + count)
        open[file]?.offset += count
        written += count
        try await call { mount, request, done in
            bytes.withUnsafeBytes { mount.write(request, handle, $0, at: offset, done) }
        }
    }

    /// What is whole now may be seen under each name that the file has.
    private func settle(_ inode: Inode, isSynced: Bool = false) {
        guard inode.writers == 0 || isSynced else { return }
        for (path, other) in files where other === inode { whole[path, default: []].insert(inode.bytes) }
    }

    private func synchronize(_ file: Int) async throws {
        guard let (handle, inode) = open[file].map({ ($0.handle, $0.inode) }) else { return complain("not open") }
        // The writers that sync have written all of it: if they die now, this is the file.
        settle(inode, isSynced: true)
        try await call { mount, request, done in mount.synchronize(request, handle, isDataOnly: false, done) }
        inode.promise = (inode.bytes, files.filter { $0.value === inode }.map(\.key))
    }

    private func synchronizeDirectory(_ path: String) async throws {
        let directory = directories[path] ?? .root
        try await call { mount, request, done in mount.synchronizeDirectory(request, directory, done) }
        for (name, inode) in files where path.isEmpty || name.hasPrefix("\(path)/") {
            if inode.writers == 0 || inode.promise != nil { inode.promise = (inode.bytes, [name]) }
        }
    }

    private func close(_ file: Int) async throws {
        guard let (handle, inode) = open.removeValue(forKey: file).map({ ($0.handle, $0.inode) }) else {
            return complain("not open")
        }
        // Before the call: the mount may publish before it answers.
        inode.writers -= 1
        settle(inode)
        try await call { mount, request, done in mount.release(request, handle, done) }
    }

    private func rename(_ old: String, to new: String) async throws {
        let ((from, name), (to, newName)) = (split(old), split(new))
        for (path, inode) in files where path == old || path.hasPrefix("\(old)/") {
            let moved = new + path.dropFirst(old.count)
            files[path] = nil
            files[moved] = inode
            inode.promise?.paths.append(moved)
            settle(inode)
        }
        for (path, node) in directories where path == old || path.hasPrefix("\(old)/") {
            directories[path] = nil
            directories[new + path.dropFirst(old.count)] = node
        }
        try await call { mount, request, done in
            mount.rename(request, name, in: from, to: newName, in: to, .replace, done)
        }
    }

    private func unlink(_ path: String) async throws {
        let (directory, name) = split(path)
        files[path] = nil
        try await call { mount, request, done in mount.unlink(request, name, in: directory, done) }
    }

    private func link(_ path: String, _ target: String) async throws {
        if files[path] != nil { try await unlink(path) }
        let (directory, name) = split(path)
        files[path] = Inode()
        whole[path, default: []].insert([])
        let _: TreeEntry = try await call { mount, request, done in
            mount.makeLink(request, name, in: directory, target: target, done)
        }
    }

    private func removeTree(_ path: String) async throws {
        for file in files.keys.sorted() where file.hasPrefix("\(path)/") { try await unlink(file) }
        let below = directories.keys.filter { $0 == path || $0.hasPrefix("\(path)/") }
        for directory in below.sorted(by: { $0.utf8.count > $1.utf8.count }) {
            let (parent, name) = split(directory)
            directories[directory] = nil
            try await call { mount, request, done in mount.removeDirectory(request, name, in: parent, done) }
        }
    }
}

// After a death.
extension TrainerLife {
    /// The machine comes back with what its disk kept. All that was promised is read, and gets into the bucket.
    func comeBack() async throws {
        guard case .machine(let remains) = death else { return }
        try life.crash(remains)
        try await look()
    }

    /// The writer alone is dead: the kernel closes what it had open. All that was promised is there as before.
    func dieAlone() async throws {
        for (file, opened) in open.sorted(by: { $0.key < $1.key }) {
            let missing = max(0, opened.declared - opened.inode.bytes.count)
            // That it will be bytes nobody but the writer knows: to everyone else the file has zeros there.
            opened.inode.bytes += [UInt8](repeating: 0, count: missing)
            written += missing
            try await close(file)
        }
        try await look()
    }

    private func look() async throws {
        var found: [String: [UInt8]] = [:]
        for promise in files.values.compactMap(\.promise) {
            var place: String?
            for path in promise.paths where place == nil {
                if (try? await life.contents(path)) == promise.bytes { place = path }
            }
            kept += 1
            if let place { found[place] = promise.bytes } else { complain("lost what was synced: \(promise.paths)") }
        }
        life.mount.update { $0.engine.drain() }
        for _ in 0..<2000 where life.pending.count > 0 {
            await life.step()
            check()
        }
        let published = life.published
        for (path, bytes) in found where !TemporaryNames.isHeldBack(path) && published[path] != bytes {
            complain("'\(path)' was synced, and the bucket has \(published[path]?.count ?? -1) bytes")
        }
        life.mount.update { $0.engine.isDraining = false }
        try await clean(.root)
        (files, open, directories, declared) = ([:], [:], ["": .root], [:])
    }

    /// The next run removes what it finds.
    private func clean(_ directory: TreeNode) async throws {
        let (mount, request) = (life.mount, life.request())
        let listing = try await life.call { mount.list(request, directory, after: 0, limit: 1000, $0) }.get()
        for line in listing.lines {
            let (mount, request) = (life.mount, life.request())
            if line.attributes.kind == .directory {
                try await clean(line.attributes.node)
                try await life.call { mount.removeDirectory(request, line.name, in: directory, $0) }.get()
            } else {
                try await life.call { mount.unlink(request, line.name, in: directory, $0) }.get()
            }
        }
    }

    /// Lets everything go into the bucket, killed or not, and compares.
    func finish() async throws {
        life.mount.update { $0.engine.drain() }
        for _ in 0..<30_000 {
            if life.pending.count == 0, life.mount.status.isSettled { break }
            try await step()
            guard life.isDead else { continue }
            try die()
            life.mount.update { $0.engine.drain() }
        }
        // It was not killed: what comes now is the test's own.
        life.killedAtStep = nil
        life.disk.set(.init())
        let published = life.published
        for path in Set(files.keys).union(published.keys).sorted() where files[path]?.bytes != published[path] {
            complain(
                "'\(path)': \(published[path]?.count ?? -1) in the bucket, \(files[path]?.bytes.count ?? -1) written"
            )
        }
        // Links read nothing.
        for (path, inode) in files where !inode.bytes.isEmpty {
            if (try? await life.contents(path)) != inode.bytes { complain("'\(path)' reads other bytes") }
        }
        // After a machine's death, declared zeros are uploaded that nobody wrote.
        if case .process = death, life.bucket.uploadedBytes.received > written {
            complain("more bytes were uploaded than written")
        }
        // What a dead process leaves is for `gc`.
        if !isCut, !life.leftovers.isEmpty { complain("left in the bucket: \(life.leftovers)") }
        check()
    }
}
