import Glibc
import LinuxPlatform
import TestSupport
import Testing
import WriteBack

@testable import FUSEMount

/// Random reads, writes, truncations and mappings of one file on the mount, and the same of one on this machine's disk: what
/// is read must be the same at each step. In the manner of `fsx`.
@Suite(.serialized) struct FileExerciserTests {
    /// With PENSTOCK_SOAK=1, a million operations.
    private static let operations = SeedSlice.first(1, ofSoak: 2).count == 1 ? 2000 : 25_000

    private static let script = """
        seed, count = int(sys.argv[2]), int(sys.argv[3])
        draw = random.Random(seed)
        limit = 400_000
        ours, plain = [os.open(os.path.join(base, "f"), os.O_RDWR | os.O_CREAT) for base in [root, local]]
        both = [ours, plain]
        mappings = None
        size = 0
        history = []
        def drop():
            global mappings
            if mappings:
                for one in mappings: one.close()
            mappings = None
        def place():
            offset = draw.randrange(limit)
            if draw.random() < .3: offset &= ~4095
            return offset, min(draw.choice([1, 100, 4096, 65536, 200_000]), limit - offset)
        def reopen(flags):
            global both
            for fd in both: os.close(fd)
            both = [os.open(os.path.join(base, "f"), os.O_RDWR | flags) for base in [root, local]]
        for step in range(count):
            kind = draw.choice("rrrwwwwwttmmmasdoxzy")
            offset, length = place()
            history = history[-20:] + [(step, kind, offset, length, size)]
            got = [None, None]
            if kind == "r":
                got = [os.pread(fd, length, offset) for fd in both]
            elif kind == "w":
                data = draw.randbytes(length)
                got = [os.pwrite(fd, data, offset) for fd in both]
                size = max(size, offset + length)
            elif kind in "tz":
                drop()
                size = offset if kind == "t" else draw.choice([0, size // 2, min(limit, size + 5000)])
                for base, fd in zip([root, local], both):
                    os.ftruncate(fd, size) if step % 2 else os.truncate(os.path.join(base, "f"), size)
            elif kind == "m" and size:
                if not mappings or len(mappings[0]) != size:
                    drop()
                    mappings = [mmap.mmap(fd, size) for fd in both]
                start = offset % size
                if draw.random() < .5:
                    data = draw.randbytes(min(length, size - start))
                    for one in mappings: one[start:start + len(data)] = data
                else:
                    got = [one[start:start + length] for one in mappings]
                if draw.random() < .2:
                    for one in mappings: one.flush()
            elif kind == "a":
                for base in [root, local]:
                    with open(os.path.join(base, "f"), "ab") as file: file.write(b"appended")
                size += 8
                if size > limit: drop(); size = limit; [os.ftruncate(fd, size) for fd in both]
            elif kind == "s":
                [os.fsync(fd) if step % 2 else os.fdatasync(fd) for fd in both]
            elif kind == "d" and size >= 4096:
                at = (offset % size) & ~4095
                page = mmap.mmap(-1, 65536); page[:] = draw.randbytes(65536)
                if draw.random() < .5 and at + 65536 <= limit:
                    fds = [os.open(os.path.join(base, "f"), os.O_RDWR | os.O_DIRECT) for base in [root, local]]
                    got = [os.pwritev(fd, [page], at) for fd in fds]
                    size = max(size, at + 65536)
                else:
                    fds = [os.open(os.path.join(base, "f"), os.O_RDONLY | os.O_DIRECT) for base in [root, local]]
                    got = []
                    for fd in fds:
                        n = os.preadv(fd, [page], at)
                        got.append((n, bytes(page[:n])))
                for fd in fds: os.close(fd)
            elif kind == "o":
                drop(); reopen(0)
                if draw.random() < .2: reopen(os.O_TRUNC); size = 0
            elif kind == "x":
                got = [os.fstat(fd).st_size for fd in both]
                check("stat", os.stat(os.path.join(root, "f")).st_size, size)
            elif kind == "y":
                end = min(limit, offset + length)
                for fd in both: os.posix_fallocate(fd, offset, end - offset)
                size = max(size, end)
            if got[0] != got[1] or os.fstat(both[0]).st_size != size or os.fstat(both[1]).st_size != size:
                print(f"seed {seed}: after {history}: sizes {os.fstat(both[0]).st_size}, {os.fstat(both[1]).st_size}, model {size}")
                break
        drop()
        for fd in both: os.close(fd)
        contents = [open(os.path.join(base, "f"), "rb").read() for base in [root, local]]
        if contents[0] != contents[1]: print(f"seed {seed}: the contents differ at the end")
        """

    @Test(arguments: TreeKind.allCases, SeedSlice.first(4, ofSoak: 40))
    func theSameAsOnADisk(kind: TreeKind, seed: UInt64) async throws {
        let rig = try WritableRig(kind)
        // Write-back is tried with fewer: it synchronizes this machine's disk.
        let operations = kind == .writeBack ? Self.operations / 4 : Self.operations
        let said = try await rig.python(Self.script, ["\(seed)", "\(operations)"])
        #expect(said == "")
        try await rig.finish()
    }
}
