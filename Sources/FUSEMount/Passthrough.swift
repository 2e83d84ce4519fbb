import BlockCache
import CLinux
import Filesystem
import Glibc
import LinuxPlatform
import Telemetry

/// Where open files are given to the kernel, for it to read them by itself.
protocol BackingRegistry: Sendable {
    /// The kernel takes a reference of its own to the open file.
    func register(_ descriptor: Int32) throws(Errno) -> BackingID
    /// The kernel drops it as soon as no handle uses it.
    func unregister(_ backing: BackingID)
    /// Whether applications could open the file with O_DIRECT, too.
    func canReadDirectly(_ descriptor: Int32) -> Bool
}

/// The kernel behind a mount.
struct KernelBackings: BackingRegistry {
    /// Of /dev/fuse; borrowed.
    let device: Int32

    func register(_ descriptor: Int32) throws(Errno) -> BackingID {
        BackingID(number: try retryingOnInterrupt { clinux_fuse_backing_open(device, descriptor) })
    }

    func unregister(_ backing: BackingID) { _ = clinux_fuse_backing_close(device, backing.number) }

    func canReadDirectly(_ descriptor: Int32) -> Bool { clinux_can_read_directly(descriptor) != 0 }
}

/// Lets the kernel read the cache's files by itself where it may, and knows which inodes are open so.
///
/// Needs CAP_SYS_ADMIN, Linux 6.9 and a cache directory on a filesystem that is not stacked on another. What the kernel
/// says in INIT is not to be relied upon: the first file that it is given shows whether it works. Where it does not, one
/// line of the log says so, and this process answers all reads.
final class Passthrough: Sendable {
    private typealias Waiter = @Sendable (InodeMode) -> Void

    private struct State {
        var modes: InodeModes<Waiter>
        /// What the kernel has is still counted by the cache when its name is gone.
        var files: [BackingID: BackingFile] = [:]
    }

    private let registry: any BackingRegistry
    private let metrics: MountMetrics
    private let log: Log
    private let state: Lock<State>

    /// - Parameter inherited: what a former process of this mount has left open. The cache's files among it are held by
    ///   the kernel's own references.
    init(
        _ registry: any BackingRegistry,
        inherited: [OpenInodes.Entry] = [],
        metrics: MountMetrics,
        log: Log
    ) {
        self.registry = registry
        self.metrics = metrics
        self.log = log
        state = Lock(State(modes: InodeModes(inherited: inherited)))
        metrics.passthroughFiles.add(inherited.count { $0.backing != nil })
    }

    /// How an OPEN is to be answered, and counts it. For each there must be one `release`.
    ///
    /// - Parameters:
    ///   - backing: the file with the inode's bytes; asked for only when this open decides.
    ///   - completion: called exactly once, with no lock held; before this returns unless another thread is deciding.
    func open(
        _ node: NodeID,
        backing: () -> BackingFile?,
        completion: @escaping @Sendable (InodeMode) -> Void
    ) {
        switch state.withLock({ $0.modes.open(node, completion) }) {
        case .wait: return
        case .answer(let mode): answer([completion], mode)
        case .decide:
            let file = backing()
            let mode = file.flatMap(register).map { InodeMode.kernel($0) } ?? .daemon
            if case .kernel = mode { metrics.passthroughFiles.add(1) }
            let waiting = state.withLock { state in
                if case .kernel(let backing) = mode { state.files[backing] = file }
                return state.modes.decided(node, mode)
            }
            answer([completion] + waiting, mode)
        }
    }

    private func answer(_ completions: [Waiter], _ mode: InodeMode) {
        if case .kernel = mode { metrics.passthroughOpens.add(completions.count) }
        for completion in completions { completion(mode) }
    }

    /// One handle has gone.
    func release(_ node: NodeID) {
        let (backing, file) = state.withLock { state in
            let backing = state.modes.release(node)
            return (backing, backing.flatMap { state.files.removeValue(forKey: $0) })
        }
        guard let backing else { return }
        registry.unregister(backing)
        metrics.passthroughFiles.add(-1)
        // Closed outside of the lock, and after the kernel's own reference.
        withExtendedLifetime(file) {}
    }

    /// The kernel has let go of the mount: it keeps what it was given for as long as /dev/fuse is open.
    func end() {
        let (left, files) = state.withLock { state in
            defer { state.files = [:] }
            return (state.modes.end(), state.files)
        }
        left.forEach(registry.unregister)
        metrics.passthroughFiles.add(-left.count)
        withExtendedLifetime(files) {}
    }

    /// Who reads the open handles of an inode; nil when it has none.
    func mode(of node: NodeID) -> InodeMode? { state.withLock { $0.modes.mode(of: node) } }

    /// The open inodes that the kernel reads by itself, in no order.
    var nodesReadByKernel: [NodeID] { state.withLock { $0.modes.nodesReadByKernel } }

    /// Every inode that is opened from now on is read by this process.
    ///
    /// - Parameter reason: for people.
    func refuse(_ reason: String) {
        guard state.withLock({ $0.modes.refuse() }) else { return }
        log.info(
            "no passthrough: reads of files in the disk cache go through this process, too",
            ["reason": LogValue(reason)]
        )
    }

    /// Gives the file to the kernel; nil when that is not possible, or would not show the object's bytes.
    private func register(_ file: BackingFile) -> BackingID? {
        // Everybody else reads at positions of their own.
        let size = lseek(file.descriptor, 0, SEEK_END)
        guard size == file.size else {
            // The kernel would show what lies behind the object's end, or fail before it.
            log.warn(
                "a cache file was cut or has grown: it is not read",
                ["bytes": .integer(size), "expected": .integer(file.size)]
            )
            return nil
        }
        guard registry.canReadDirectly(file.descriptor) else {
            refuse("the cache's filesystem has no O_DIRECT: files could not be opened with it")
            return nil
        }
        do throws(Errno) {
            return try registry.register(file.descriptor)
        } catch {
            if let reason = Self.reasonAgainstMount(error) {
                refuse(reason)
            } else {
                log.debug("the kernel did not take a cache file", ["error": LogValue(error)])
            }
            return nil
        }
    }

    /// What an error says of the mount as a whole; nil for one that another file or moment may not have.
    private static func reasonAgainstMount(_ error: Errno) -> String? {
        switch error.code {
        case EPERM: "it needs CAP_SYS_ADMIN"
        case ENOTTY, EINVAL, ENOSYS, EOPNOTSUPP: "the kernel has none; it needs Linux 6.9"
        case ELOOP: "the cache's directory lies on a stacked filesystem (overlayfs); it needs a volume of its own"
        default: nil
        }
    }
}
