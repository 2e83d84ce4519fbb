import Foundation
import Glibc
import LinuxPlatform
import TestSupport
import Testing
import WriteBack

@testable import FUSEMount

/// Calls that take their time, are interrupted, or fail.
@Suite(.serialized) struct WaitingWriterTests {
    private func signal(_ rig: WritableRig, _ number: Int32) throws {
        let text = try String(contentsOfFile: rig.local + "/pid", encoding: .utf8)
        #expect(kill(try #require(pid_t(text)), number) == 0)
    }

    /// What a writer who waits for room waits for is not what others wait for, though one thread serves all.
    @Test func nobodyElseWaits() async throws {
        let isWaiting = NamedEvent()
        let rig = try WritableRig(threads: 1) { call in
            guard call.hasPrefix("write") else { return .proceed }
            isWaiting.happen()
            return .wait
        }
        async let writer = rig.python(
            """
            open("other", "w").close()
            fd = os.open("f", os.O_RDWR | os.O_CREAT)
            check("written in the end", os.write(fd, b"patience"), 8)
            check("content", os.pread(fd, 100, 0), b"patience")
            """
        )
        #expect(isWaiting.wait(until: SystemTime().now().advanced(by: .seconds(60))))
        #expect(
            try await rig.python(
                """
                check("names", sorted(os.listdir(".")), ["f", "other"])
                os.rename("other", "renamed"); os.mkdir("d")
                check("size so far", os.stat("f").st_size, 0)
                """
            ) == ""
        )
        rig.memory.letGo()
        #expect(try await writer == "")
        #expect(rig.unmount())
        #expect(rig.tree.openHandles == 0)
    }

    @Test(arguments: ["synchronize(", "flush(", "rename(", "write("])
    func aSignalEndsAWait(call: String) async throws {
        let isWaiting = NamedEvent()
        let rig = try WritableRig { name in
            guard name.hasPrefix(call) else { return .proceed }
            isWaiting.happen()
            return .wait
        }
        let calls = [
            "synchronize(": "os.fsync(fd)", "flush(": "os.close(fd)", "rename(": #"os.rename("f", "g")"#,
            "write(": #"os.write(fd, b"x")"#,
        ]
        async let writer = rig.python(
            """
            class Woken(Exception): pass
            def wake(*_): raise Woken
            signal.signal(signal.SIGUSR1, wake)
            fd = os.open("f", os.O_RDWR | os.O_CREAT)
            open(local + "/new", "w").write(str(os.getpid())); os.rename(local + "/new", local + "/pid")
            try:
                \(calls[call] ?? "")
                print("it did not wait")
            except Woken: pass
            check("nothing was done", (os.listdir("."), os.stat("f").st_size), (["f"], 0))
            """
        )
        #expect(isWaiting.wait(until: SystemTime().now().advanced(by: .seconds(60))))
        try signal(rig, SIGUSR1)
        #expect(try await writer == "")
        rig.memory.letGo()
    }

    /// Who is killed in a call that waits goes at once.
    @Test func aKillEndsAWait() async throws {
        let isWaiting = NamedEvent()
        let rig = try WritableRig { name in
            guard name.hasPrefix("synchronize(") else { return .proceed }
            isWaiting.happen()
            return .wait
        }
        async let parent = rig.python(
            """
            pid = os.fork()
            if pid == 0:
                fd = os.open("f", os.O_RDWR | os.O_CREAT)
                open(local + "/new", "w").write(str(os.getpid())); os.rename(local + "/new", local + "/pid")
                os.fsync(fd)
                os._exit(0)
            check("killed", os.waitpid(pid, 0)[1], signal.SIGKILL)
            """
        )
        #expect(isWaiting.wait(until: SystemTime().now().advanced(by: .seconds(60))))
        try signal(rig, SIGKILL)
        #expect(try await parent == "")
        #expect(rig.unmount())
        #expect(rig.tree.openHandles == 0)
    }

    /// An error of the tree is the error of the call: of write(2) and not of a later one, of close(2), of fsync(2).
    @Test func errorsGetToWhoeverAsked() async throws {
        let errors: [String: Errno] = [
            "write(": .noSpace, "flush(": .inputOutput, "synchronize(": .stale, "synchronizeDirectory(": .inputOutput,
            "release(": .inputOutput, "allocate(": .noSpace, "rename(": Errno(EXDEV), "space(": .timedOut,
        ]
        let rig = try WritableRig { call in
            errors.first { call.hasPrefix($0.key) }.map { .fail($0.value) } ?? .proceed
        }
        let said = try await rig.python(
            """
            fd = os.open("f", os.O_RDWR | os.O_CREAT)
            check("write", failing(lambda: os.write(fd, b"x")), "ENOSPC")
            check("nothing is there", (os.fstat(fd).st_size, os.pread(fd, 9, 0)), (0, b""))
            check("mapped", failing(lambda: os.ftruncate(fd, 4096)), "OK")
            mapping = mmap.mmap(fd, 4096); mapping[:4] = b"lost"
            check("msync", failing(mapping.flush), "ENOSPC")
            check("fsync", failing(lambda: os.fsync(fd)), "ESTALE")
            check("fallocate", failing(lambda: os.posix_fallocate(fd, 0, 9000)), "ENOSPC")
            check("rename", failing(lambda: os.rename("f", "g")), "EXDEV")
            check("close", failing(lambda: os.close(fd)), "EIO")
            directory = os.open(".", os.O_RDONLY)
            check("directory", failing(lambda: os.fsync(directory)), "EIO")
            check("statfs", failing(lambda: os.statvfs(".")), "ETIMEDOUT")
            """
        )
        #expect(said == "")
    }

    /// What changes without the kernel is seen by it once it is told.
    @Test func theKernelIsToldOfChanges() async throws {
        let rig = try WritableRig()
        #expect(
            try await rig.python(
                """
                open("f", "w").write("old content"); open("f").read(); os.stat("f")
                check("gone", os.path.exists("new"), False)
                """
            ) == ""
        )
        let request = TreeRequest(number: 1 << 40)
        let node = try #require(try rig.find("f", request))
        let handle = TreeHandle(node, .write)
        rig.tree.open(request, node, .write, truncates: true) { _ in }
        Array("new".utf8).withUnsafeBytes { rig.tree.write(request, handle, $0, at: 0) { _ in } }
        rig.tree.release(nil, handle) { _ in }
        rig.tree.makeDirectory(request, "new", in: .root, mode: 0o755) { _ in }
        rig.memory.tell(.content(node))
        rig.memory.tell(.name("new", in: .root))
        // The kernel is told by a thread of its own.
        let said = try await rig.python(
            """
            while os.stat("f").st_size != 3 or not os.path.isdir("new"): pass
            check("content", open("f").read(), "new")
            """
        )
        #expect(said == "")
    }

    /// A directory that changes while it is read: names that stay are seen once each.
    @Test func directoriesAreReadWhileTheyChange() async throws {
        let rig = try WritableRig()
        let said = try await rig.python(
            """
            for n in range(3000): open(f"stays-{n:05}", "w").close(); open(f"goes-{n:05}", "w").close()
            seen = []
            with os.scandir(".") as entries:
                for n, entry in enumerate(entries):
                    seen.append(entry.name)
                    if entry.name.startswith("goes"): os.unlink(entry.name)
                    if n % 3 == 0: open(f"new-{n}", "w").close()
                    if n % 7 == 0 and entry.name.startswith("stays"):
                        open("temporary", "w").close(); os.rename("temporary", entry.name)
                    if n > 20_000: break
            stays = [name for name in seen if name.startswith("stays")]
            check("once each", sorted(stays), [f"stays-{n:05}" for n in range(3000)])
            check("goes", len([name for name in os.listdir(".") if name.startswith("goes")]), 0)
            fd = os.open(".", os.O_RDONLY)
            check("twice the same", sorted(os.listdir(fd)), sorted(os.listdir(fd)))
            shutil.rmtree(root, onerror=lambda *_: None)
            check("removed", os.listdir("."), [])
            """
        )
        #expect(said == "")
    }
}

extension WritableRig {
    /// The node of a name in the root.
    func find(_ name: String, _ request: TreeRequest) throws -> TreeNode? {
        let found = Lock<TreeNode?>(nil)
        tree.lookup(request, name, in: .root) { result in
            found.withLock { $0 = (try? result.get())?.attributes?.node }
        }
        return found.withLock { $0 }
    }
}
