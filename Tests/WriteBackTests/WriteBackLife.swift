import LinuxPlatform
import ObjectStorage
import TestSupport

@testable import WriteBack

/// Work that the mount has started and nobody has done yet: a test does it in an order of its own.
final class PendingWork: Sendable {
    private let work = Lock<[@Sendable () async -> Void]>([])

    var count: Int { work.withLock { $0.count } }

    func add(_ body: @escaping @Sendable () async -> Void) { work.withLock { $0.append(body) } }

    /// The process that started it is gone.
    func clear() { work.withLock { $0 = [] } }

    func take(_ choice: UInt64) -> (@Sendable () async -> Void)? {
        work.withLock { $0.isEmpty ? nil : $0.remove(at: Int(choice % UInt64($0.count))) }
    }
}

/// What the bucket may do to a request; chances out of 100.
struct Weather {
    var loss = 0
    var refusal = 0
    var shortening = 0
    var expiry = 0
}

/// A mount that is written to, through processes that die, on a disk that may forget, over a network that loses replies.
final class WriteBackLife {
    static let layout = PartLayout(smallest: 64, largest: 256)

    let bucket: MemoryBucket
    var disk = ForgetfulDisk()
    var random: SeededRandom
    var weather: Weather
    var mount: WriteBack
    var pending: PendingWork
    var store: MemoryObjectStore
    let time = ManualTime(advancesOnSleep: true)
    var boot = [UInt8](repeating: 1, count: 16)
    var lastRequest: UInt64 = 0
    var deaths = 0
    var mostUnacknowledged = 0
    var options: WriteBackOptions
    /// Whether callers that get a signal are about to end.
    let isKilled = Lock(false)
    /// What this account may not do.
    var forbids: StoreOperation?
    /// The process dies at this step of its connection; see `StoreFault.killing`.
    var killedAtStep: Int?

    static func options() -> WriteBackOptions {
        var options = WriteBackOptions()
        (options.chunk, options.window, options.sessions, options.granularity) = (48, 100, 4, 4)
        options.layout = layout
        options.journalReserve = 0
        return options
    }

    init(
        seed: UInt64,
        _ weather: Weather = Weather(),
        _ options: WriteBackOptions = WriteBackLife.options(),
        isHierarchical: Bool = false
    ) throws {
        var kind = MemoryBucket.Options()
        kind.uploadGranularity = options.granularity
        kind.isHierarchical = isHierarchical
        bucket = MemoryBucket(kind, time: time)
        random = SeededRandom(seed: seed)
        self.weather = weather
        self.options = options
        pending = PendingWork()
        store = MemoryObjectStore(bucket)
        mount = try Self.process(disk, bucket, pending, store, time, boot, options, isKilled, isNewMount: true)
        mount.begin()
    }

    /// With room for 100 bytes, of which the first of two open files takes 90.
    static func nearlyFull(seed: UInt64) async throws -> (life: WriteBackLife, first: TreeHandle, second: TreeHandle) {
        var options = Self.options()
        options.stagingLimit = 100
        let life = try WriteBackLife(seed: seed, Weather(), options)
        let first = try await life.create("a")
        try await life.write([UInt8](repeating: 1, count: 90), first, at: 0)
        return (life, first, try await life.create("b"))
    }

    /// How many things a look at everything finds that were left undone; none, if the engine keeps its word.
    var overlooked: Int {
        mount.core.withLock { core in
            core.engine.touchAll()
            return core.engine.next().count + core.engine.takeRecords().count
        }
    }

    private static func process(
        _ disk: ForgetfulDisk,
        _ bucket: MemoryBucket,
        _ pending: PendingWork,
        _ store: MemoryObjectStore,
        _ time: ManualTime,
        _ boot: [UInt8],
        _ options: WriteBackOptions,
        _ isKilled: Lock<Bool>,
        isNewMount: Bool
    ) throws -> WriteBack {
        var around = WriteBack.Surroundings(
            store: store,
            root: ObjectPrefix("run"),
            time: time,
            boot: boot,
            isNewMount: isNewMount
        )
        around.diskThreads = 1
        around.start = { [pending] in pending.add($0) }
        around.isKilled = { _ in isKilled.withLock { $0 } }
        return try WriteBack(disk.directory, around, options)
    }

    func below(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }
    func chance(_ percent: Int) -> Bool { below(100) < percent }
    /// Nothing that the process does has an effect any more.
    var isDead: Bool { disk.isDead || store.isKilled }

    // MARK: Deaths

    /// The process dies with what it has under way; the machine goes on.
    func die() throws {
        deaths += 1
        mount.close()
        pending.clear()
        disk = disk.restarted()
        try begin(isNewMount: false)
    }

    /// The power goes and comes back.
    func crash(_ remains: ForgetfulDisk.Remains) throws {
        deaths += 1
        mount.close()
        pending.clear()
        disk = disk.crashed(remains)
        boot = random.bytes(16)
        try begin(isNewMount: true)
    }

    private func begin(isNewMount: Bool) throws {
        killedAtStep = nil
        pending = PendingWork()
        store = MemoryObjectStore(bucket)
        mount = try Self.process(disk, bucket, pending, store, time, boot, options, isKilled, isNewMount: isNewMount)
        mount.begin()
    }

    // MARK: Work

    /// Does something of what was started, any of it.
    func step() async {
        if chance(weather.expiry) { bucket.expireUploads() }
        store.setHook(hook())
        if let work = pending.take(random.next()) {
            await work()
        }
        store.setHook(nil)
        mostUnacknowledged = max(mostUnacknowledged, mount.status.unacknowledged)
    }

    /// Does so much of what was started; false when there is less.
    func steps(_ count: Int) async -> Bool {
        for _ in 0..<count {
            if pending.count == 0 { return false }
            await step()
        }
        return true
    }

    private func hook() -> StoreFaultHook {
        let seed = random.next()
        let (weather, killedAtStep, disk, forbids) = (weather, killedAtStep, disk, forbids)
        return { call in
            if call.moment == .before, call.operation == forbids {
                return .fail(ObjectStoreError(.forbidden, "not allowed", status: 403))
            }
            if let step = killedAtStep, let kill = StoreFault.killing(atStep: step)(call) {
                // What is dead writes nothing down.
                disk.set(.init(diesAtChange: disk.changes))
                return kill
            }
            var random = SeededRandom(seed: seed ^ UInt64(call.index))
            func chance(_ percent: Int) -> Bool { Int(random.next() % 100) < percent }
            // Stores read and list again by themselves.
            guard call.moment == .before, ![.list, .read, .layout].contains(call.operation) else { return nil }
            if chance(weather.loss) { return .loseReply }
            if chance(weather.refusal) { return .fail(ObjectStoreError(.unavailable, "refused", status: 503)) }
            if call.operation == .continueUpload, chance(weather.shortening) {
                return .keepOnly(Int(random.next() % 32))
            }
            return nil
        }
    }

    /// Calls the mount, and does what it has started until the answer is there.
    func call<Value: Sendable>(
        _ body: (@escaping @Sendable (Result<Value, Errno>) -> Void) -> Void
    ) async -> Result<Value, Errno> {
        let answer = Lock<Result<Value, Errno>?>(nil)
        body { result in answer.withLock { $0 = result } }
        while true {
            if let result = answer.withLock({ $0 }) { return result }
            if pending.count > 0 { await step() } else { await Task.yield() }
        }
    }

    func request(_ number: UInt64? = nil) -> TreeRequest {
        lastRequest += 1
        return TreeRequest(number: number ?? lastRequest, isResent: number != nil)
    }

    /// Everything that was written goes into the bucket.
    ///
    /// - Throws: what is left, when it does not.
    func drain(limit: Int = 30_000) async throws {
        mount.update { $0.engine.drain() }
        for _ in 0..<limit {
            if mount.status.isSettled, pending.count == 0 { return }
            await step()
        }
        throw JournalLife.Wrong(what: "not settled: \(mount.status)")
    }

    /// What stands in the bucket under the mount's names.
    var published: [String: [UInt8]] {
        var found: [String: [UInt8]] = [:]
        for name in bucket.names where name.hasPrefix("run/") && !name.hasPrefix("run/.penstock/") {
            found[String(name.dropFirst(4))] = bucket.bytes(name)
        }
        return found
    }

    /// Pieces of uploads that are still there.
    var leftovers: [String] { bucket.names.filter { $0.hasPrefix("run/.penstock/") } }

    // MARK: Calls

    func lookup(_ path: String) async throws(Errno) -> TreeNode {
        var node = TreeNode.root
        for name in path.split(separator: "/") {
            let (mount, directory, request) = (mount, node, request())
            let found = try await call { mount.lookup(request, String(name), in: directory, $0) }.get()
            guard let attributes = found.attributes else { throw .noEntry }
            node = attributes.node
        }
        return node
    }

    func create(
        _ name: String,
        in directory: TreeNode = .root,
        _ rule: CreateRule = .openTruncated
    ) async throws(Errno) -> TreeHandle {
        let (mount, request) = (mount, request())
        let made = try await call {
            mount.create(request, name, in: directory, mode: 0o644, open: [.read, .write], rule, $0)
        }.get()
        guard let file = made.file else { throw .inputOutput }
        return file.handle
    }

    func write(_ bytes: [UInt8], _ handle: TreeHandle, at offset: Int) async throws(Errno) {
        let (mount, request) = (mount, request())
        try await call { done in bytes.withUnsafeBytes { mount.write(request, handle, $0, at: offset, done) } }.get()
    }

    func read(_ handle: TreeHandle, count: Int = 4096) async throws(Errno) -> [UInt8] {
        let (mount, request) = (mount, request())
        let copy: Result<[UInt8], Errno> = await call { done in
            mount.read(request, handle, at: 0, count: count) { result in
                done(result.map { pieces in pieces.flatMap { Array($0) } })
            }
        }
        return try copy.get()
    }

    func setMode(_ path: String, _ mode: UInt16) async throws(Errno) {
        var changes = AttributeChanges()
        changes.mode = mode
        let (mount, node, request, wanted) = (mount, try await lookup(path), request(), changes)
        _ = try await call { mount.setAttributes(request, node, wanted, through: nil, $0) }.get()
    }

    /// What the mount says of a file.
    func attributes(_ path: String) async throws(Errno) -> TreeAttributes {
        let (mount, node, request) = (mount, try await lookup(path), request())
        return try await call { mount.attributes(request, node, $0) }.get().attributes
    }

    /// What another mount would make of the metadata that stands in the bucket.
    func described(_ path: String) -> NodeAttributes? {
        bucket.objects.first { $0.name.value == "run/" + path }.map {
            ObjectMetadata.decoded($0, now: UnixTime(seconds: 0))
        }
    }

    func release(_ handle: TreeHandle) async throws(Errno) {
        let (mount, request) = (mount, request())
        try await call { mount.release(request, handle, $0) }.get()
    }

    func synchronize(_ handle: TreeHandle) async throws(Errno) {
        let (mount, request) = (mount, request())
        try await call { mount.synchronize(request, handle, isDataOnly: false, $0) }.get()
    }

    func contents(_ path: String) async throws(Errno) -> [UInt8] {
        let node = try await lookup(path)
        let (mount, request) = (mount, request())
        let file = try await call { mount.open(request, node, .read, truncates: false, $0) }.get()
        let bytes = try await read(file.handle)
        try await release(file.handle)
        return bytes
    }
}
