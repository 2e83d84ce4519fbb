import LinuxPlatform
import TestSupport
import Testing
import WriteBack

@testable import FUSEMount

/// What system calls answer on a writable mount: each line is a call and its errno, made on a fresh tree.
///
/// `both` are also made on this machine's own filesystem, which must answer the same.
@Suite(.serialized) struct POSIXTableTests {
    private static let both: [(call: String, errno: String)] = [
        // open(2)
        (#"os.open("none", os.O_RDONLY)"#, "ENOENT"),
        (#"os.open("f/x", os.O_RDONLY)"#, "ENOTDIR"),
        (#"os.open("none/x", os.O_CREAT | os.O_WRONLY)"#, "ENOENT"),
        (#"os.open("f", os.O_CREAT | os.O_EXCL | os.O_WRONLY)"#, "EEXIST"),
        (#"os.open("d", os.O_CREAT | os.O_EXCL | os.O_WRONLY)"#, "EEXIST"),
        (#"os.open("l", os.O_CREAT | os.O_EXCL | os.O_WRONLY)"#, "EEXIST"),
        (#"os.open("gone", os.O_CREAT | os.O_EXCL | os.O_WRONLY)"#, "EEXIST"),
        (#"os.open("d", os.O_WRONLY)"#, "EISDIR"),
        (#"os.open("d", os.O_RDWR | os.O_TRUNC)"#, "EISDIR"),
        (#"os.open("f", os.O_RDONLY | os.O_DIRECTORY)"#, "ENOTDIR"),
        (#"os.open("l", os.O_RDONLY | os.O_NOFOLLOW)"#, "ELOOP"),
        (#"os.open("l", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)"#, "ELOOP"),
        (#"os.open("loop", os.O_RDONLY)"#, "ELOOP"),
        (#"os.open("n" * 256, os.O_CREAT | os.O_WRONLY)"#, "ENAMETOOLONG"),
        (#"os.open("n" * 255, os.O_CREAT | os.O_WRONLY)"#, "OK"),
        (#"os.open("l", os.O_RDWR | os.O_TRUNC)"#, "OK"),
        (#"os.open("gone", os.O_RDWR | os.O_CREAT)"#, "OK"),
        // read(2), write(2), ftruncate(2)
        (#"os.write(os.open("f", os.O_RDONLY), b"x")"#, "EBADF"),
        (#"os.read(os.open("f", os.O_WRONLY), 1)"#, "EBADF"),
        (#"os.read(os.open("d", os.O_RDONLY), 1)"#, "EISDIR"),
        (#"os.ftruncate(os.open("f", os.O_RDONLY), 1)"#, "EINVAL"),
        (#"os.truncate("d", 1)"#, "EISDIR"),
        (#"os.truncate("none", 1)"#, "ENOENT"),
        (#"os.truncate("f", -1)"#, "EINVAL"),
        // mkdir(2), rmdir(2)
        (#"os.mkdir("d")"#, "EEXIST"),
        (#"os.mkdir("f")"#, "EEXIST"),
        (#"os.mkdir("none/x")"#, "ENOENT"),
        (#"os.mkdir("f/x")"#, "ENOTDIR"),
        (#"os.mkdir("n" * 256)"#, "ENAMETOOLONG"),
        (#"os.rmdir("none")"#, "ENOENT"),
        (#"os.rmdir("f")"#, "ENOTDIR"),
        (#"os.rmdir("l")"#, "ENOTDIR"),
        (#"os.rmdir("full")"#, "ENOTEMPTY"),
        (#"os.rmdir("d/.")"#, "EINVAL"),
        (#"os.rmdir("d")"#, "OK"),
        // unlink(2)
        (#"os.unlink("none")"#, "ENOENT"),
        (#"os.unlink("d")"#, "EISDIR"),
        (#"os.unlink("f/x")"#, "ENOTDIR"),
        (#"os.unlink("l")"#, "OK"),
        (#"os.unlink("f")"#, "OK"),
        // rename(2), renameat2(2)
        (#"os.rename("none", "x")"#, "ENOENT"),
        (#"os.rename("f", "none/x")"#, "ENOENT"),
        (#"os.rename("f", "f/x")"#, "ENOTDIR"),
        (#"os.rename("f", "d")"#, "EISDIR"),
        (#"os.rename("d", "f")"#, "ENOTDIR"),
        (#"os.rename("d", "full")"#, "ENOTEMPTY"),
        (#"os.rename("full", "full/sub")"#, "EINVAL"),
        (#"os.rename("f", "f")"#, "OK"),
        (#"os.rename("f", "g")"#, "OK"),
        (#"os.rename("full", "d")"#, "OK"),
        (#"os.rename("l", "f")"#, "OK"),
        (#"os.rename("f", "l")"#, "OK"),
        (#"os.rename("f", "n" * 256)"#, "ENAMETOOLONG"),
        (#"renameat2("f", "g", 1)"#, "EEXIST"),
        (#"renameat2("f", "new", 1)"#, "OK"),
        (#"renameat2("none", "new", 1)"#, "ENOENT"),
        (#"renameat2("f", "new", 3)"#, "EINVAL"),
        // symlink(2), readlink(2)
        (#"os.symlink("target", "l")"#, "EEXIST"),
        (#"os.symlink("target", "f")"#, "EEXIST"),
        (#"os.symlink("", "new")"#, "ENOENT"),
        (#"os.symlink("t" * 4096, "new")"#, "ENAMETOOLONG"),
        (#"os.symlink("target", "none/x")"#, "ENOENT"),
        (#"os.readlink("f")"#, "EINVAL"),
        (#"os.readlink("none")"#, "ENOENT"),
        // link(2), mknod(2)
        (#"os.link("d", "new")"#, "EPERM"),
        (#"os.link("f", "g")"#, "EEXIST"),
        (#"os.mknod("new", 0o600 | stat.S_IFREG)"#, "OK"),
        (#"os.mknod("f", 0o600 | stat.S_IFREG)"#, "EEXIST"),
        // attributes
        (#"os.chmod("none", 0o600)"#, "ENOENT"),
        (#"os.chmod("f", 0o640)"#, "OK"),
        (#"os.chown("f", 12, 34)"#, "OK"),
        (#"os.utime("f", (1, 2))"#, "OK"),
        (#"os.utime("none")"#, "ENOENT"),
        // xattrs
        (#"os.getxattr("f", "user.none")"#, "ENODATA"),
        (#"os.removexattr("f", "user.none")"#, "ENODATA"),
        (#"os.setxattr("f", "user.x", b"2", os.XATTR_CREATE)"#, "EEXIST"),
        (#"os.setxattr("f", "user.none", b"2", os.XATTR_REPLACE)"#, "ENODATA"),
        (#"os.setxattr("f", "user.x", b"2", os.XATTR_REPLACE)"#, "OK"),
        (#"os.setxattr("none", "user.x", b"2")"#, "ENOENT"),
        (#"os.setxattr("f", "other.x", b"2")"#, "ENOTSUP"),
        (#"os.setxattr("l", "user.x", b"1", follow_symlinks=False)"#, "EPERM"),
        // fallocate(2)
        (#"os.posix_fallocate(os.open("f", os.O_RDWR), 0, 100)"#, "OK"),
        (#"os.posix_fallocate(os.open("f", os.O_RDONLY), 0, 100)"#, "EBADF"),
        (#"os.posix_fallocate(os.open("f", os.O_RDWR), 0, 0)"#, "EINVAL"),
        (#"fallocate("f", 1, 0, 100)"#, "OK"),
        // lseek(2): without holes, the end is the first one
        (#"os.lseek(os.open("f", os.O_RDONLY), 100, os.SEEK_DATA)"#, "ENXIO"),
        (#"os.lseek(os.open("f", os.O_RDONLY), 0, os.SEEK_HOLE)"#, "OK"),
        // what has no name any more
        (#"unlinked("f", lambda fd: os.ftruncate(fd, 3))"#, "OK"),
        (#"unlinked("f", lambda fd: os.fchmod(fd, 0o600))"#, "OK"),
        (#"unlinked("f", lambda fd: os.write(fd, b"x"))"#, "OK"),
        (#"unlinked("f", lambda fd: os.fsync(fd))"#, "OK"),
        (#"removed("d", lambda: os.mkdir("x"))"#, "ENOENT"),
        (#"removed("d", lambda: open("x", "w"))"#, "ENOENT"),
        (#"removed("d", lambda: os.listdir("."))"#, "OK"),
    ]

    /// Where a bucket is another thing than a disk.
    private static let ours: [(call: String, errno: String)] = [
        (#"os.link("f", "new")"#, "EPERM"),
        (#"os.mkfifo("new")"#, "EPERM"),
        (#"os.mknod("new", 0o600 | stat.S_IFSOCK)"#, "EPERM"),
        (#"os.mknod("new", 0o600 | stat.S_IFCHR, os.makedev(1, 3))"#, "EPERM"),
        (#"renameat2("f", "g", 2)"#, "EINVAL"),
        (#"renameat2("f", "new", 4)"#, "EINVAL"),
        (#"os.open(b"\xff", os.O_CREAT | os.O_WRONLY)"#, "EILSEQ"),
        (#"os.mkdir(b"\xff")"#, "EILSEQ"),
        (#"os.rename(b"f", b"\xff")"#, "EILSEQ"),
        (#"os.symlink(b"\xff", b"new")"#, "EILSEQ"),
        (#"os.stat(b"\xff")"#, "ENOENT"),
        (#"os.setxattr("f", "trusted.x", b"2")"#, "ENOTSUP"),
        (#"os.getxattr("f", "security.capability")"#, "ENOTSUP"),
        (#"os.getxattr("f", "system.posix_acl_access")"#, "ENOTSUP"),
        (#"os.setxattr("f", "user.x", bytes(65536))"#, "ENOSPC"),
        (#"fallocate("f", 3, 0, 100)"#, "ENOTSUP"),
        (#"fallocate("f", 16, 0, 100)"#, "ENOTSUP"),
        (#"os.open(".", os.O_TMPFILE | os.O_RDWR)"#, "ENOTSUP"),
        (#"os.pwrite(os.open("f", os.O_RDWR), b"x", 6 << 40)"#, "EFBIG"),
        (#"fcntl.ioctl(os.open("f", os.O_RDONLY), 0x80086601, bytes(8))"#, "ENOTTY"),
    ]

    /// What a tree answers differently: the errno of such a call.
    private static let differences: [TreeKind: [String: String]] = [
        // A directory is forgotten with its name, though somebody may be in it.
        .writeBack: [#"removed("d", lambda: os.listdir("."))"#: "ESTALE"]
    ]

    private static let frame = """
        import ctypes, shutil
        libc = ctypes.CDLL(None, use_errno=True)
        def raised(result):
            if result != 0: raise OSError(ctypes.get_errno(), "")
        def renameat2(a, b, flags): raised(libc.renameat2(-100, a.encode(), -100, b.encode(), flags))
        def fallocate(name, mode, offset, length):
            fd = os.open(name, os.O_RDWR)
            raised(libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)))
        def unlinked(name, call):
            fd = os.open(name, os.O_RDWR); os.unlink(name); call(fd)
            check("links", os.fstat(fd).st_nlink, 0)
        def removed(name, call):
            os.chdir(name); os.rmdir("../" + name); call()
        def fresh(base):
            os.chdir("/"); shutil.rmtree(base, ignore_errors=True); os.mkdir(base); os.chdir(base)
            for name in "fg": open(name, "w").write("content")
            for name in ["d", "full"]: os.mkdir(name)
            open("full/inside", "w").close()
            os.symlink("f", "l"); os.symlink("loop", "loop"); os.symlink("nothing", "gone")
            os.setxattr("f", "user.x", b"1")
        """

    /// - Parameter bases: Python's, for directories to make the calls in; those in `root` may differ.
    private func script(_ table: [(call: String, errno: String)], on bases: String, _ kind: TreeKind) -> String {
        let lines = table.map { line in
            let here = Self.differences[kind]?[line.call] ?? line.errno
            return "(lambda: \(line.call), '''\(line.call)''', \"\(line.errno)\", \"\(here)\")"
        }
        return """
            \(Self.frame)
            table = [\(lines.joined(separator: ",\n"))]
            for base in [\(bases)]:
                for call, name, wanted, here in table:
                    fresh(base)
                    pid = os.fork()
                    if pid == 0:
                        check(f"{base}: {name}", failing(call), here if base.startswith(root) else wanted)
                        sys.stdout.flush()
                        os._exit(0)
                    os.waitpid(pid, 0)
            """
    }

    @Test(arguments: TreeKind.allCases) func systemCallsAnswerAsOnADisk(kind: TreeKind) async throws {
        let rig = try WritableRig(kind)
        let said = try await rig.python(script(Self.both, on: #"local + "/t", root + "/t""#, kind))
        #expect(said == "")
        try await rig.finish()
    }

    @Test(arguments: TreeKind.allCases) func whatABucketCannotDoIsRefused(kind: TreeKind) async throws {
        let rig = try WritableRig(kind)
        let said = try await rig.python(script(Self.ours, on: #"root + "/t""#, kind))
        #expect(said == "")
        try await rig.finish()
    }
}
