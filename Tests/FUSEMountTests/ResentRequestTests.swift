import Glibc
import LinuxPlatform
import TestSupport
import Testing
import WriteBack

@testable import FUSEMount

/// Processes that serve a writable mount die with requests in their hands. Applications see nothing of it, and each change
/// is made once.
@Suite(.serialized) struct ResentRequestTests {
    /// Which calls have killed their session, before and after they were done.
    private struct Deaths {
        var before: Set<String> = []
        var after: Set<String> = []
    }

    private static let everyCall = """
        open("old", "w").write("content"); os.mkdir("dir"); os.symlink("old", "link")
        os.setxattr("old", "user.x", b"1", os.XATTR_CREATE)
        fd = os.open("new", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        check("write", os.write(fd, b"0123456789"), 10)
        os.posix_fallocate(fd, 0, 20); os.ftruncate(fd, 15)
        os.fsync(fd)
        check("read", os.pread(fd, 100, 0), b"0123456789" + bytes(5))
        os.close(fd)
        again = os.open("new", os.O_WRONLY | os.O_TRUNC); os.write(again, b"x"); os.close(again)
        os.rename("new", "dir/moved"); os.rename("old", "dir/old")
        check("moved", sorted(os.listdir("dir")), ["moved", "old"])
        check("link", os.readlink("link"), "old")
        check("value", os.getxattr("dir/old", "user.x"), b"1"); check("names", os.listxattr("dir/old"), ["user.x"])
        os.removexattr("dir/old", "user.x")
        os.unlink("dir/moved"); os.unlink("dir/old"); os.unlink("link")
        fd = os.open("dir", os.O_RDONLY); os.fsync(fd); os.close(fd)
        os.rmdir("dir"); os.statvfs(".")
        check("nothing is left", os.listdir("."), [])
        """

    /// Every kind of call once before it is done, and once after: 48 deaths.
    @Test(arguments: TreeKind.allCases) func everyCallIsDoneOnce(kind: TreeKind) async throws {
        let deaths = Lock(Deaths())
        let rig = try DyingRig(kind) { call, _, isDone in
            deaths.withLock { deaths in
                isDone ? deaths.after.insert(call).inserted : deaths.before.insert(call).inserted
            }
        }
        let said = try await rig.python(Self.everyCall)
        #expect(said == "")
        try await rig.finish()
        // create, mkdir, symlink, unlink, rmdir, rename, open, release, setxattr, removexattr
        #expect(rig.repeated == 10)
        let seen = deaths.withLock { $0 }
        #expect(seen.before == seen.after)
        #expect(seen.after.count == 24, "every call of WritableTree that has an answer")
    }

    /// Random changes of names with many deaths, compared with the same on a disk.
    @Test(arguments: TreeKind.allCases, SeedSlice.first(2, ofSoak: 30))
    func whateverDiesTheTreeIsThatOfADisk(kind: TreeKind, seed: UInt64) async throws {
        let random = Lock(SeededRandom(seed: seed))
        let rig = try DyingRig(kind) { _, _, _ in random.withLock { Int.random(in: 0..<12, using: &$0) == 0 } }
        let said = try await rig.python(NameExerciser.script, ["\(seed)", "300", NameExerciser.names])
        #expect(said == "")
        #expect(rig.deaths > 10)
        try await rig.finish()
    }
}
