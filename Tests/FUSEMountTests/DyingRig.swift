import Glibc
import LinuxPlatform
import Telemetry
import TestSupport
import Testing
import WriteBack

@testable import FUSEMount

/// A writable mount whose sessions die: a request is taken, done or not, and never answered; then the next session goes on
/// with what the keeper and the tree have kept, and the kernel sends the request again.
///
/// A session has one thread. It dies by not coming back from the tree; to let it go on would be no death.
final class DyingRig: Sendable {
    private struct State {
        var sessions: [WritableSession] = []
        var deaths = 0
        var failure: String?
    }

    let directory: TemporaryDirectory
    private let mountPoint: MountPoint
    private let kept: KeptState
    private let opens: FileDescriptor
    /// Of /dev/fuse; the keeper's.
    private let device: FileDescriptor
    private let state = Monitor(State())
    private let isOver = Monitor(false)
    private let ended = Monitor(0)
    private let memory: Lock<MemoryTree?> = Lock(nil)
    /// Nil over the memory tree, which outlives its sessions.
    private let processes: WriteBackProcesses?
    private let dying = Lock<[DyingTree]>([])
    private let dies: @Sendable (_ call: String, _ request: TreeRequest?, _ isDone: Bool) -> Bool

    /// - Parameter dies: whether the session dies of a call, before or after it was done; not asked while another one starts.
    init(
        _ kind: TreeKind = .memory,
        _ dies: @escaping @Sendable (_ call: String, _ request: TreeRequest?, _ isDone: Bool) -> Bool
    ) throws {
        self.dies = dies
        directory = try TemporaryDirectory()
        for name in ["mnt", "local"] {
            guard mkdir(directory.appending(name), 0o755) == 0 else { throw Errno.current }
        }
        mountPoint = try MountPoint(directory.appending("mnt"))
        kept = try KeptState(mountPoint: mountPoint.path)
        opens = try MemoryFile.empty(name: "test-opens")
        let channel = try Channel(mountingAt: mountPoint.path, allowsOthers: true, isWritable: true)
        device = FileDescriptor(owning: dup(channel.descriptor.rawValue))
        processes = kind == .memory ? nil : try WriteBackProcesses(staging: directory.appending("staging"))
        if processes == nil {
            let tree = MemoryTree(user: getuid(), group: getgid()) { [weak self] call, request, isDone in
                _ = self?.dieIfWanted(call, request, isDone)
                return .proceed
            }
            memory.withLock { $0 = tree }
        }
        try serve()
    }

    private func dieIfWanted(_ call: String, _ request: TreeRequest?, _ isDone: Bool) -> Bool {
        guard !isOver.withLock(\.self), dies(call, request, isDone) else { return false }
        die()
        return true
    }

    /// What the next session serves.
    private func tree() throws -> (any WritableTree)? {
        guard let processes else { return memory.withLock { $0 } }
        let tree = DyingTree(try processes.next()) { [weak self] call, request, isDone in
            self?.dieIfWanted(call, request, isDone) ?? false
        }
        dying.withLock { $0.append(tree) }
        return tree
    }

    /// Requests that the session that lives has answered.
    var answered: UInt64 { kept.answered }
    var deaths: Int { state.withLock(\.deaths) }
    var failure: String? { state.withLock(\.failure) }
    var served: (any ObservedTree)? { processes.map { $0.living } ?? memory.withLock { $0 } }
    /// Requests that were answered as they had been before.
    var repeated: Int {
        (memory.withLock { $0?.repeated } ?? 0) + dying.withLock { $0.reduce(0) { $0 + $1.repeated } }
    }

    private func serve() throws {
        guard let tree = try tree() else { return }
        let channel = Channel(descriptor: FileDescriptor(owning: dup(device.rawValue)))
        let worker = UInt32(state.withLock(\.sessions.count) + 1)
        let records = try SessionRecords(
            worker: worker,
            try KeptState(adopting: FileDescriptor(owning: dup(kept.descriptor))),
            opens: FileDescriptor(owning: dup(opens.rawValue)),
            countsHandles: false
        )
        let session = try WritableSession(
            channel,
            tree: tree,
            records: records,
            metrics: MountMetrics(MetricRegistry()),
            log: Log(sink: LogLines())
        ) { [ended] in ended.withLock { $0 += 1 } }
        state.withLock { $0.sessions.append(session) }
        try session.start(threads: 1)
    }

    private func die() {
        state.withLock { $0.deaths += 1 }
        do { try serve() } catch { state.withLock { $0.failure = "\(error)" } }
        _ = isOver.wait(until: .distantFuture) { $0 }
    }

    func python(_ script: String, _ arguments: [String] = []) async throws -> String {
        try await Python.run(
            script,
            in: mountPoint.path,
            arguments: [directory.appending("local")] + arguments
        )
    }

    /// Unmounts; whether the session that lives has ended.
    func unmount() throws -> Bool {
        // Each time of the one that lives: a session may die of the last release.
        waitForReleases { served?.openHandles ?? 0 }
        try mountPoint.unmount(isDetached: false)
        return ended.wait(until: SystemTime().now().advanced(by: .seconds(30))) { $0 > 0 }
    }

    /// Unmounts, and looks at what is left, as `WritableRig.finish`.
    func finish(_ location: SourceLocation = #_sourceLocation) async throws {
        let shown = processes == nil ? "" : try await python(MountedNames.script)
        #expect(failure == nil, sourceLocation: location)
        #expect(try unmount(), sourceLocation: location)
        let tree = try #require(served, sourceLocation: location)
        #expect(tree.openHandles == 0, sourceLocation: location)
        // A journal does not say which answers the kernel has got: the next process keeps them, up to a limit.
        if processes == nil { #expect(tree.keptAnswers == 0, sourceLocation: location) }
        let complaints = await processes?.complaints(shown: shown) ?? []
        #expect(complaints == [], sourceLocation: location)
        #expect(bury(), sourceLocation: location)
    }

    /// The dead threads may go; what they do now is of no matter to anybody.
    func bury() -> Bool {
        isOver.withLock { $0 = true }
        let all = state.withLock(\.sessions.count)
        return ended.wait(until: SystemTime().now().advanced(by: .seconds(30))) { $0 == all }
    }
}
