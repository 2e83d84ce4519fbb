import BlockCache
import Checksums
import Filesystem
import Foundation
import Glibc
import LinuxPlatform
import ObjectStorage
import Telemetry
import TestSupport

@testable import FUSEMount

/// Opens objects of a bucket in memory; for some, the test has put a file where the disk cache would have one.
private final class Contents: ContentOpener {
    private let store: MemoryObjectStore
    private let backings: [String: any BackingSource]

    init(_ store: MemoryObjectStore, _ backings: [String: any BackingSource]) {
        self.store = store
        self.backings = backings
    }

    func open(
        _ facts: FileFacts,
        _ completion: @escaping @Sendable (Result<CachedContent, FilesystemError>) -> Void
    ) {
        let attributes = ObjectAttributes(
            name: facts.object,
            generation: facts.generation,
            size: facts.size,
            crc32c: facts.crc32c
        )
        let backing = backings[facts.object.value]
        let source = store.source(attributes)
        completion(.success(CachedContent(source: source, checks: .whole(facts.crc32c), backing: backing)))
    }
}

/// A file with an object's bytes, each time opened anew with a shared lock: who has the exclusive lock knows that nobody
/// has it open any more, the kernel neither.
final class LockedFile: BackingSource {
    let path: String
    private let claimedSize: Int
    /// The file is found as soon as this one exists.
    private let marker: String?

    init(_ path: String, holding bytes: [UInt8], claiming size: Int, once marker: String? = nil) throws {
        self.path = path
        self.marker = marker
        claimedSize = size
        try Data(bytes).write(to: URL(filePath: path))
    }

    func backing() -> BackingFile? {
        if let marker, access(marker, F_OK) != 0 { return nil }
        guard let file = try? FileDescriptor(path: path, flags: O_RDONLY), flock(file.rawValue, LOCK_SH) == 0 else {
            return nil
        }
        return BackingFile(file, size: claimedSize)
    }
}

/// The kernel, with every number counted.
final class CountingBackings: BackingRegistry {
    let registered = Lock(0)
    let unregistered = Lock(0)
    private let kernel: KernelBackings
    private let error: Errno?

    init(_ device: Int32, error: Errno?) {
        kernel = KernelBackings(device: device)
        self.error = error
    }

    func register(_ descriptor: Int32) throws(Errno) -> BackingID {
        registered.withLock { $0 += 1 }
        if let error { throw error }
        return try kernel.register(descriptor)
    }

    func unregister(_ backing: BackingID) {
        kernel.unregister(backing)
        unregistered.withLock { $0 += 1 }
    }

    func canReadDirectly(_ descriptor: Int32) -> Bool { kernel.canReadDirectly(descriptor) }
}

/// A mount that this process serves and other processes read: what reads its own mount may wait for itself.
final class MountedRig: Sendable {
    struct Failed: Error, CustomStringConvertible { let description: String }

    let directory: TemporaryDirectory
    let bucket = MemoryBucket()
    let mount: FUSEMount
    let metrics: MountMetrics
    let lines: LogLines
    private let backings: Lock<CountingBackings?>
    private let ending: NamedEvent

    var path: String { directory.appending("mnt") }

    /// - Parameters:
    ///   - objects: the files of the mount.
    ///   - error: what the kernel says instead of taking a file.
    ///   - backing: where a file with the object's bytes is; gets a directory for it.
    init(
        _ objects: [String: [UInt8]],
        usesPassthrough: Bool = true,
        threads: Int = 4,
        error: Errno? = nil,
        backing: (TemporaryDirectory, String) throws -> (any BackingSource)?
    ) throws {
        guard access("/dev/fuse", R_OK | W_OK) == 0 else {
            throw Failed(description: "mount tests need /dev/fuse, which is missing or closed to this user")
        }
        directory = try TemporaryDirectory()
        let mountPoint = directory.appending("mnt")
        guard mkdir(mountPoint, 0o755) == 0 else { throw Errno.current }
        var files: [String: any BackingSource] = [:]
        for (name, bytes) in objects {
            _ = try bucket.plant(name, bytes)
            files[name] = try backing(directory, name)
        }
        lines = LogLines()
        let log = Log(sink: lines)
        let store = MemoryObjectStore(bucket)
        let filesystem = try Filesystem(
            source: ListedDirectories(store: store, prefix: ObjectPrefix(""), timeToLive: .seconds(600), log: log),
            opener: Contents(store, files),
            cache: BlockCache(budget: 32 << 20, log: log),
            options: .init(source: "memory://bucket")
        )
        let registry = MetricRegistry()
        metrics = MountMetrics(registry)
        let backings = Lock<CountingBackings?>(nil)
        self.backings = backings
        var options = FUSEMount.Options(
            allowsOthers: false,
            kernelReadAhead: nil,
            threads: threads,
            usesPassthrough: usesPassthrough
        )
        options.backings = { device in
            let counting = CountingBackings(device, error: error)
            backings.withLock { $0 = counting }
            return counting
        }
        let ending = NamedEvent()
        self.ending = ending
        mount = try FUSEMount(filesystem, at: MountPoint(mountPoint), options, metrics: registry, log: log) {
            ending.happen()
        }
    }

    deinit { _ = mount.stop(patience: .seconds(10)) }

    var registered: Int { backings.withLock { $0 }?.registered.withLock { $0 } ?? 0 }
    var unregistered: Int { backings.withLock { $0 }?.unregistered.withLock { $0 } ?? 0 }

    /// Returns when the kernel has let go of the mount.
    func waitForEnd() -> Bool { ending.wait(until: SystemTime().now().advanced(by: .seconds(60))) }

    /// Runs a script of Python in a process of its own; what it prints, errors too, so that a test shows them.
    func python(_ script: String, _ arguments: [String] = []) async throws -> String {
        let frame = """
            import sys, os, mmap, hashlib
            root = sys.argv[1]
            def passthrough(path):
                try: return os.getxattr(path, "user.penstock.passthrough").decode()
                except OSError as error: return os.strerror(error.errno)
            \(script)
            """
        let environment = ["PATH=\(ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin")", "HOME=/"]
        let output = try await ChildProcess.run(
            ["sh", "-c", "exec python3 -c \"$@\" 2>&1", "sh", frame, path] + arguments,
            environment: environment,
            timeout: .seconds(120),
            limit: 1 << 20
        )
        return String(decoding: output, as: UTF8.self).trimmingCharacters(in: .newlines)
    }

    /// Waits until nobody has the file open, the kernel neither; false when that does not come.
    func isFree(_ file: LockedFile) async throws -> Bool {
        let said = try await ChildProcess.run(
            ["flock", "-x", "-w", "30", file.path, "echo", "free"],
            environment: ["PATH=/usr/bin:/bin"],
            timeout: .seconds(60),
            limit: 100
        )
        return said == Array("free\n".utf8)
    }
}

/// Happens once; threads wait for it.
final class NamedEvent: Sendable {
    private let state = Monitor(false)
    func happen() { state.withLock { $0 = true } }
    func wait(until deadline: MonotonicInstant) -> Bool { state.wait(until: deadline) { $0 } }
}

/// Whether this machine's kernel can do passthrough for this process: Linux 6.9, CAP_SYS_ADMIN.
enum Machine {
    static let canPassThrough: Bool = {
        var name = utsname()
        guard uname(&name) == 0 else { return false }
        let release = withUnsafeBytes(of: name.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        let numbers = release.split { !$0.isNumber }.prefix(2).compactMap { Int($0) }
        let isNew = numbers.count == 2 && (numbers[0], numbers[1]) >= (6, 9)
        let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix("CapEff:") }
        let capabilities = line.flatMap { UInt64($0.dropFirst(7).trimmingCharacters(in: .whitespaces), radix: 16) } ?? 0
        return isNew && capabilities & 1 << 21 != 0
    }()
}
