import Glibc
import LinuxPlatform
import TestSupport
import Testing
import WriteBack

@testable import FUSEMount

enum NameExerciser {
    /// Two of them are one word, in NFC and in NFD.
    static let names = "a/b/caf\u{e9}/cafe\u{301}/d"

    static let script = """
        seed, count = int(sys.argv[2]), int(sys.argv[3])
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        draw = random.Random(seed)
        names = sys.argv[4].split("/")
        def path(): return "/".join(draw.choice(names) for _ in range(draw.choice([1, 1, 2, 2, 3])))
        def keep(a, b):
            if libc.renameat2(-100, a.encode(), -100, b.encode(), 1): raise OSError(ctypes.get_errno(), "")
        def write(p, flags, data):
            fd = os.open(p, flags, 0o640)
            try: os.write(fd, data)
            finally: os.close(fd)
        def seen(p):
            one = os.lstat(p)
            kind = stat.S_IFMT(one.st_mode)
            if kind == stat.S_IFLNK: return os.readlink(p)
            more = open(p, "rb").read() if kind == stat.S_IFREG else sorted(os.listdir(p))
            xattrs = {name: os.getxattr(p, name) for name in os.listxattr(p) if name.startswith("user.")}
            return stat.S_IMODE(one.st_mode), one.st_uid, int(one.st_mtime) if one.st_mtime < 1e9 else 0, more, xattrs
        def tree():
            lines = []
            for base, directories, files in os.walk("."):
                for name in sorted(directories + files): lines.append((os.path.join(base, name), seen(os.path.join(base, name))))
            return sorted(lines)
        flags = [os.O_WRONLY | os.O_CREAT | more for more in [0, os.O_EXCL, os.O_TRUNC, os.O_APPEND, os.O_NOFOLLOW, os.O_DIRECTORY]]
        def operation():
            a, b, data = path(), path(), draw.randbytes(draw.randrange(50))
            n, mode, flag = draw.randrange(100), draw.choice([0o600, 0o644, 0o755]), draw.choice(flags)
            return draw.choice([
                lambda: os.mkdir(a, mode), lambda: os.mkdir(a, mode), lambda: write(a, flag, data), lambda: write(a, flag, data),
                lambda: os.unlink(a), lambda: os.rmdir(a), lambda: os.rename(a, b), lambda: os.rename(a, b), lambda: keep(a, b),
                lambda: os.symlink(f"t{n}", a), lambda: os.readlink(a), lambda: seen(a), lambda: os.chmod(a, mode),
                lambda: os.utime(a, (n, n)), lambda: os.setxattr(a, f"user.{n % 3}", data), lambda: os.removexattr(a, f"user.{n % 3}"),
                lambda: os.truncate(a, n), lambda: sorted(os.listdir(a)), lambda: os.mknod(a, 0o600 | stat.S_IFREG),
            ])
        def outcome(base, call):
            os.chdir(base)
            try: return call()
            except OSError as error: return errno.errorcode[error.errno]
        for step in range(count):
            call = operation()
            results = [outcome(base, call) for base in [root, local]]
            if results[0] != results[1]:
                import inspect
                print(f"seed {seed}, step {step}: {results} for {inspect.getclosurevars(call)}")
                break
            if step % 100 == 0 or step == count - 1:
                trees = [outcome(base, tree) for base in [root, local]]
                if trees[0] != trees[1]: print(f"seed {seed}, step {step}: {trees[0]} and not {trees[1]}"); break
        """
}

/// Random changes of names, made on the mount and on this machine's disk: each answers the same, and the trees are the same.
@Suite(.serialized) struct NameExerciserTests {
    private static let operations = SeedSlice.first(1, ofSoak: 2).count == 1 ? 1500 : 20_000

    @Test(arguments: TreeKind.allCases, SeedSlice.first(4, ofSoak: 20))
    func theSameAsOnADisk(kind: TreeKind, seed: UInt64) async throws {
        let rig = try WritableRig(kind)
        let said = try await rig.python(
            NameExerciser.script,
            ["\(seed)", "\(Self.operations)", NameExerciser.names]
        )
        #expect(said == "")
        try await rig.finish()
    }
}
