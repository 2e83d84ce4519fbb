import Checksums
import Foundation
import Glibc
import LinuxPlatform
import Telemetry
import TestSupport
import Testing

@testable import FUSEMount

/// With the real kernel: the files of the mount are read by other processes.
@Suite(.serialized, .enabled(if: Machine.canPassThrough, "passthrough needs Linux 6.9 and CAP_SYS_ADMIN"))
struct PassthroughMountTests {
    private let bytes: [UInt8] = {
        var random = SeededRandom(seed: 78)
        return random.bytes((5 << 20) + 333)
    }()

    private var digest: String { SHA256Digest.of(bytes).description }

    /// A mount of one file, `w`, of which a file with the same bytes is in the cache.
    private func mounted(threads: Int = 4, once marker: String? = nil) throws -> (MountedRig, LockedFile) {
        var file: LockedFile?
        let rig = try MountedRig(["w": bytes], threads: threads) { directory, name in
            file = try LockedFile(
                directory.appending("cached-" + name),
                holding: bytes,
                claiming: bytes.count,
                once: marker.map(directory.appending)
            )
            return file
        }
        return (rig, try #require(file))
    }

    @Test func theKernelReadsTheFileAndTheDaemonSeesNoRead() async throws {
        let (rig, file) = try mounted()
        let said = try await rig.python(
            """
            with open(root + "/w", "rb") as f:
                print(passthrough(root + "/w"), hashlib.sha256(f.read()).hexdigest())
            """
        )
        #expect(said == "yes \(digest)")
        #expect(rig.metrics.reads.value == 0)
        #expect(rig.metrics.passthroughOpens.value == 1)
        #expect(try await rig.isFree(file))
    }

    @Test func mappedPagesAreThoseOfTheFileAlsoAfterItWasClosed() async throws {
        let (rig, file) = try mounted()
        let said = try await rig.python(
            """
            f = open(root + "/w", "rb")
            m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
            f.close()
            print(hashlib.sha256(m).hexdigest())
            """
        )
        #expect(said == digest)
        #expect(rig.metrics.reads.value == 0)
        #expect(try await rig.isFree(file))
    }

    @Test func directReadsAreThoseOfTheFile() async throws {
        let (rig, _) = try mounted()
        let said = try await rig.python(
            """
            fd = os.open(root + "/w", os.O_RDONLY | os.O_DIRECT)
            buffer = mmap.mmap(-1, 8 << 20)
            count = os.preadv(fd, [buffer], 0)
            print(count, hashlib.sha256(buffer[:count]).hexdigest())
            """
        )
        #expect(said == "\(bytes.count) \(digest)")
        #expect(rig.metrics.reads.value == 0)
    }

    /// One thread: the kernel's RELEASE is handled before the OPEN that was sent after it.
    @Test func aFileThatComesWhileHandlesAreOpenIsUsedAfterTheLastRelease() async throws {
        let (rig, file) = try mounted(threads: 1, once: "ready")
        let said = try await rig.python(
            """
            path = root + "/w"
            first = open(path, "rb")
            print(passthrough(path), hashlib.sha256(first.read(1 << 20)).hexdigest())
            open(sys.argv[2], "w").close()
            second = open(path, "rb")
            m = mmap.mmap(second.fileno(), 0, prot=mmap.PROT_READ)
            print(passthrough(path), hashlib.sha256(m).hexdigest())
            first.seek(0)
            print(passthrough(path), hashlib.sha256(first.read()).hexdigest())
            first.close(); second.close()
            third = open(path, "rb")
            print(passthrough(path))
            third.close(); m.close()
            fourth = open(path, "rb")
            print(passthrough(path), hashlib.sha256(fourth.read()).hexdigest())
            fifth = open(path, "rb")
            fourth.close()
            print(passthrough(path), hashlib.sha256(fifth.read()).hexdigest())
            """,
            [rig.directory.appending("ready")]
        )
        let start = SHA256Digest.of(Array(bytes[..<(1 << 20)]))
        #expect(
            said.split(separator: "\n").map(String.init) == [
                "no \(start)", "no \(digest)", "no \(digest)", "no", "yes \(digest)", "yes \(digest)",
            ]
        )
        #expect(rig.metrics.passthroughOpens.value == 2)
        #expect(try await rig.isFree(file))
    }

    @Test func manyOpensByManyProcessesLeaveNothingRegistered() async throws {
        let (rig, file) = try mounted()
        let script = """
            import random
            random.seed(int(sys.argv[2]))
            expected = open(sys.argv[3], "rb").read()
            handles = []
            for round in range(1000):
                handles.append(os.open(root + "/w", os.O_RDONLY))
                at = random.randrange(len(expected))
                assert os.pread(random.choice(handles), 4096, at) == expected[at:at + 4096]
                if len(handles) > random.randrange(4): os.close(handles.pop(random.randrange(len(handles))))
                if random.randrange(8) == 0:
                    while handles: os.close(handles.pop())
            print("right")
            """
        try await withThrowingTaskGroup(of: String.self) { group in
            for seed in 1...4 {
                group.addTask { try await rig.python(script, ["\(seed)", file.path]) }
            }
            for try await said in group { #expect(said == "right") }
        }
        #expect(try await rig.isFree(file))
        #expect(rig.metrics.reads.value == 0)
        #expect(rig.metrics.passthroughOpens.value == 4000)
        #expect(rig.metrics.passthroughFiles.value == 0)
        #expect(rig.registered > 0 && rig.registered == rig.unregistered)
    }

    /// One thread: each RELEASE is handled before the next OPEN.
    @Test func eachOpenGetsANumberThatIsGivenBack() async throws {
        let (rig, file) = try mounted(threads: 1)
        let said = try await rig.python(
            """
            for round in range(3000): os.close(os.open(root + "/w", os.O_RDONLY))
            print("done")
            """
        )
        #expect(said == "done")
        #expect(try await rig.isFree(file))
        #expect(rig.registered == 3000 && rig.unregistered == 3000)
    }

    /// A longer one would show bytes behind the object's end, a shorter one would end before it.
    @Test(arguments: [-4096, -1, 1, 4096]) func aFileOfAnotherSizeIsNeverUsed(difference: Int) async throws {
        let other = difference < 0 ? Array(bytes.dropLast(-difference)) : bytes + Array(repeating: 1, count: difference)
        for claimed in [bytes.count, other.count] {
            let rig = try MountedRig(["w": bytes]) { directory, name in
                try LockedFile(directory.appending(name), holding: other, claiming: claimed)
            }
            let said = try await rig.python(
                """
                with open(root + "/w", "rb") as f:
                    print(passthrough(root + "/w"), hashlib.sha256(f.read()).hexdigest())
                """
            )
            #expect(said == "no \(digest)")
            #expect(rig.registered == 0)
        }
    }

    @Test func aMountWithOpenHandlesGoesAndTheyReadOn() async throws {
        let (rig, file) = try mounted()
        let (opened, gone) = (rig.directory.appending("opened"), rig.directory.appending("gone"))
        for pipe in [opened, gone] { #expect(mkfifo(pipe, 0o600) == 0) }
        async let reading = rig.python(
            """
            with open(root + "/w", "rb") as f:
                start = f.read(1000)
                open(sys.argv[2], "w").write("opened")
                open(sys.argv[3]).read(1)
                assert not os.path.exists(root + "/w")
                print(hashlib.sha256(start + f.read()).hexdigest())
            """,
            [opened, gone]
        )
        let pipe = try FileDescriptor(path: opened, flags: O_RDONLY | O_NONBLOCK)
        var poller = pollfd(fd: pipe.rawValue, events: Int16(POLLIN), revents: 0)
        #expect(poll(&poller, 1, 60_000) == 1)
        #expect(!rig.mount.stop(patience: .seconds(30)))
        // Open for both, so that it waits for nobody, and until the reader has ended.
        let signal = try FileDescriptor(path: gone, flags: O_RDWR)
        #expect(write(signal.rawValue, "g", 1) == 1)
        #expect(try await reading == digest)
        #expect(rig.waitForEnd())
        #expect(rig.metrics.reads.value == 0)
        #expect(rig.registered == rig.unregistered)
        #expect(try await rig.isFree(file))
    }
}

/// Where the kernel does not do it, or shall not, everything works as without.
@Suite(.serialized) struct PassthroughFallbackTests {
    private let bytes: [UInt8] = {
        var random = SeededRandom(seed: 79)
        return random.bytes((2 << 20) + 1)
    }()

    private let script = """
        for name in ["a", "b"]:
            with open(root + "/" + name, "rb") as f:
                print(passthrough(root + "/" + name), hashlib.sha256(f.read()).hexdigest())
        """

    private func rig(usesPassthrough: Bool = true, error: Errno? = nil) throws -> MountedRig {
        try MountedRig(["a": bytes, "b": bytes], usesPassthrough: usesPassthrough, error: error) { directory, name in
            try LockedFile(directory.appending(name), holding: bytes, claiming: bytes.count)
        }
    }

    @Test(arguments: [EPERM, ENOTTY, EOPNOTSUPP])
    func whereItIsRefusedTheDaemonReads(code: Int32) async throws {
        let rig = try rig(error: Errno(code))
        let digest = SHA256Digest.of(bytes)
        #expect(try await rig.python(script) == "no \(digest)\nno \(digest)")
        #expect(rig.metrics.reads.value > 0)
        #expect(rig.metrics.passthroughOpens.value == 0)
        #expect(rig.lines.containing("no passthrough").count == 1)
    }

    @Test func whereItIsSwitchedOffTheDaemonReads() async throws {
        let rig = try rig(usesPassthrough: false)
        let digest = SHA256Digest.of(bytes)
        let none = Errno.noData
        #expect(try await rig.python(script) == "\(none) \(digest)\n\(none) \(digest)")
        #expect(rig.metrics.reads.value > 0)
        #expect(rig.registered == 0)
        #expect(rig.lines.containing("no passthrough").isEmpty)
    }
}
