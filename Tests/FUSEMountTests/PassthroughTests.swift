import BlockCache
import Filesystem
import Glibc
import LinuxPlatform
import Telemetry
import TestSupport
import Testing

@testable import FUSEMount

/// What is decided with a file of the cache in hand, with a kernel that answers as the test wants.
@Suite struct PassthroughTests {
    /// Takes files, or refuses them.
    private final class Registry: BackingRegistry {
        struct State {
            var last: Int32 = 0
            var tried = 0
            var registered: Set<BackingID> = []
        }

        let state = Lock(State())
        let error: Errno?
        let isDirect: Bool

        init(error: Errno? = nil, isDirect: Bool = true) {
            self.error = error
            self.isDirect = isDirect
        }

        func register(_ descriptor: Int32) throws(Errno) -> BackingID {
            try state.withLock { (state) throws(Errno) in
                state.tried += 1
                if let error { throw error }
                state.last += 1
                let backing = BackingID(number: state.last)
                state.registered.insert(backing)
                return backing
            }
        }

        func unregister(_ backing: BackingID) { _ = state.withLock { $0.registered.remove(backing) } }
        func canReadDirectly(_ descriptor: Int32) -> Bool { isDirect }
    }

    private let directory: TemporaryDirectory
    private let metrics = MountMetrics(MetricRegistry())
    private let lines = LogLines()

    init() throws { directory = try TemporaryDirectory() }

    private func passthrough(_ registry: Registry) -> Passthrough {
        Passthrough(registry, metrics: metrics, log: Log(sink: lines))
    }

    private func file(_ size: Int, claiming claimed: Int? = nil) throws -> BackingFile {
        let file = try FileDescriptor(path: directory.appending("file"), flags: O_RDWR | O_CREAT)
        try file.truncate(to: size)
        return BackingFile(file, size: claimed ?? size)
    }

    private func open(_ passthrough: Passthrough, _ node: UInt64, _ file: BackingFile?) -> InodeMode? {
        let answer = Lock<InodeMode?>(nil)
        passthrough.open(NodeID(node), backing: { file }, completion: { mode in answer.withLock { $0 = mode } })
        return answer.withLock { $0 }
    }

    @Test func aFileOfTheCacheIsRegisteredOnceAndGivenBackAfterTheLastRelease() throws {
        let registry = Registry()
        let passthrough = passthrough(registry)
        let expected = InodeMode.kernel(BackingID(number: 1))
        #expect(open(passthrough, 2, try file(10)) == expected)
        #expect(open(passthrough, 2, nil) == expected)
        #expect(metrics.passthroughFiles.value == 1 && metrics.passthroughOpens.value == 2)
        passthrough.release(NodeID(2))
        #expect(registry.state.withLock { $0.registered.count } == 1)
        passthrough.release(NodeID(2))
        #expect(registry.state.withLock { $0.registered.count } == 0)
        #expect(metrics.passthroughFiles.value == 0)
    }

    @Test func withoutAFileTheDaemonReads() throws {
        let registry = Registry()
        #expect(open(passthrough(registry), 2, nil) == .daemon)
        #expect(registry.state.withLock { $0.tried } == 0)
        #expect(metrics.passthroughOpens.value == 0)
    }

    /// A longer file would show what lies behind the object's end.
    @Test(arguments: [9, 11]) func aFileOfAnotherSizeIsNotUsed(size: Int) throws {
        let registry = Registry()
        #expect(open(passthrough(registry), 2, try file(size, claiming: 10)) == .daemon)
        #expect(registry.state.withLock { $0.tried } == 0)
        #expect(lines.containing("was cut or has grown").count == 1)
    }

    @Test(arguments: [EPERM, ENOTTY, EINVAL, EOPNOTSUPP, ENOSYS, ELOOP])
    func aKernelThatDoesNotDoItIsAskedOnceAndOneLineSaysSo(code: Int32) throws {
        let registry = Registry(error: Errno(code))
        let passthrough = passthrough(registry)
        for node in 2...9 { #expect(open(passthrough, UInt64(node), try file(10)) == .daemon) }
        #expect(registry.state.withLock { $0.tried } == 1)
        #expect(lines.containing("no passthrough").count == 1)
    }

    @Test func anErrorOfTheMomentIsTriedAgain() throws {
        let registry = Registry(error: Errno(ENOMEM))
        let passthrough = passthrough(registry)
        for node in 2...4 { #expect(open(passthrough, UInt64(node), try file(10)) == .daemon) }
        #expect(registry.state.withLock { $0.tried } == 3)
        #expect(lines.containing("no passthrough").isEmpty)
    }

    /// Where O_DIRECT cannot be had of the file, an application that wants it would get an error.
    @Test func aFilesystemWithoutDirectReadsIsNotUsed() throws {
        let registry = Registry(isDirect: false)
        #expect(open(passthrough(registry), 2, try file(10)) == .daemon)
        #expect(registry.state.withLock { $0.tried } == 0)
        #expect(lines.containing("O_DIRECT").count == 1)
    }

    @Test func threadsThatOpenAndReleaseAtOnceLeaveNothingBehind() throws {
        let registry = Registry()
        let passthrough = passthrough(registry)
        let file = try file(10)
        let threads = try (0..<4).map { index in
            try NamedThread(name: "opener-\(index)") {
                for round in 0..<2000 {
                    let node = NodeID(UInt64(round % 3 + 2))
                    let close = { @Sendable (mode: InodeMode) in
                        if case .daemon = mode { Issue.record("a file was not used") }
                        passthrough.release(node)
                    }
                    passthrough.open(node, backing: { file }, completion: close)
                }
            }
        }
        threads.forEach { $0.join() }
        #expect(registry.state.withLock { $0.registered.count } == 0)
        #expect(metrics.passthroughFiles.value == 0)
        #expect(metrics.passthroughOpens.value == 8000)
    }
}

/// Log lines, in order.
final class LogLines: LogSink {
    private let all = Lock([String]())
    func write(_ line: String) { all.withLock { $0.append(line) } }
    func containing(_ text: String) -> [String] { all.withLock { $0.filter { $0.contains(text) } } }
}
