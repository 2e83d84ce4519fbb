import LinuxPlatform
import TestSupport
import Testing
import WriteBack

@testable import FUSEMount

/// The system calls of the writers of checkpoints, as they were traced, and what the writer and a reader see.
@Suite(.serialized) struct CheckpointWriterTests {
    private func run(_ kind: TreeKind, _ script: String) async throws {
        let rig = try WritableRig(kind)
        let said = try await rig.python(script)
        #expect(said == "")
        try await rig.finish()
    }

    /// A temporary file, its size declared, tensors in a write each, renamed while it is open; then faulted in by a private
    /// mapping whose descriptor is closed.
    @Test(arguments: TreeKind.allCases) func safetensors(kind: TreeKind) async throws {
        try await run(
            kind,
            """
            header = struct.pack("<Q", 1000) + b"{" + b" " * 999
            tensors = [os.urandom(4 << 20), os.urandom(4 << 20), os.urandom(700_001)]
            whole = header + b"".join(tensors)
            fd = os.open(".tmpA1b2C3", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            os.ftruncate(fd, len(whole))
            check("declared", os.fstat(fd).st_size, len(whole))
            os.write(fd, header)
            for tensor in tensors: check("one write", os.write(fd, tensor), len(tensor))
            os.rename(".tmpA1b2C3", "model.safetensors")
            check("by the new name", os.stat("model.safetensors").st_size, len(whole))
            os.close(fd)
            check("names", os.listdir("."), ["model.safetensors"])
            check("mode", stat.S_IMODE(os.stat("model.safetensors").st_mode), 0o600)
            fd = os.open("model.safetensors", os.O_RDONLY)
            mapping = mmap.mmap(fd, 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            os.close(fd)
            check("mapped", hashlib.sha256(mapping).digest(), hashlib.sha256(whole).digest())
            """
        )
    }

    /// In place, over what is there, in order; a reader of the old file that has it mapped sees the new one, as on a disk.
    @Test(arguments: TreeKind.allCases) func torchSave(kind: TreeKind) async throws {
        try await run(
            kind,
            """
            open("model.pt", "wb").write(os.urandom(2 << 20))
            fd = os.open("model.pt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            check("empty at once", os.stat("model.pt").st_size, 0)
            import zipfile, io
            records = {f"archive/data/{n}": os.urandom(300_000 + n) for n in range(5)}
            buffer = io.BytesIO()
            with zipfile.ZipFile(buffer, "w") as archive:
                for name, data in records.items(): archive.writestr(name, data)
            data = buffer.getvalue()
            for start in range(0, len(data), 65536): os.writev(fd, [data[start:start + 100], data[start + 100:start + 65536]])
            os.close(fd)
            with open("model.pt", "rb") as file:
                file.read(4096)
                for back in range(1, 8): file.seek(-4096 * back, os.SEEK_END); file.read(4096)
                with zipfile.ZipFile(file) as archive:
                    for name, wanted in records.items(): check(name, archive.read(name), wanted)
            # A zip writer that seeks back to fill its headers in.
            with open("seeking.zip", "w+b") as file:
                with zipfile.ZipFile(file, "w") as archive:
                    for name, data in records.items():
                        with archive.open(name, "w") as entry: entry.write(data)
            with zipfile.ZipFile("seeking.zip") as archive:
                for name, wanted in records.items(): check(name, archive.read(name), wanted)
            """
        )
    }

    /// Data files synced, the metadata renamed over the old one that was unlinked first; twice, in place.
    @Test(arguments: TreeKind.allCases) func torchDistributedCheckpoint(kind: TreeKind) async throws {
        try await run(
            kind,
            """
            for turn in range(2):
                os.makedirs("checkpoint", exist_ok=True)
                if os.path.exists("checkpoint/.metadata"): os.unlink("checkpoint/.metadata")
                shards = [os.urandom(1_500_000 + rank) for rank in range(3)]
                for rank, shard in enumerate(shards):
                    with open(f"checkpoint/__{rank}_0.distcp", "wb") as file:
                        for start in range(0, len(shard), 200_000): file.write(shard[start:start + 200_000])
                        file.flush(); os.fsync(file.fileno())
                with open("checkpoint/.metadata.tmp", "wb") as file:
                    file.write(b"metadata %d" % turn); file.flush(); os.fsync(file.fileno())
                os.rename("checkpoint/.metadata.tmp", "checkpoint/.metadata")
                check("metadata", open("checkpoint/.metadata", "rb").read(), b"metadata %d" % turn)
                for rank, shard in enumerate(shards):
                    check("shard", open(f"checkpoint/__{rank}_0.distcp", "rb").read(), shard)
            check("names", sorted(os.listdir("checkpoint")), [".metadata", "__0_0.distcp", "__1_0.distcp", "__2_0.distcp"])
            """
        )
    }

    /// OFD locks on a file that is renamed while it is locked and open, syncs of directories, nested renames of directories.
    @Test(arguments: TreeKind.allCases) func orbax(kind: TreeKind) async throws {
        try await run(
            kind,
            """
            def sync(path):
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY); os.fsync(fd); os.close(fd)
            def lock(kind): return struct.pack("hhqqi4x", kind, os.SEEK_SET, 0, 0, 0)
            F_OFD_SETLK, F_OFD_SETLKW = 37, 38
            temporary = "1.orbax-checkpoint-tmp"
            os.mkdir(temporary); os.mkdir(temporary + "/default.orbax-checkpoint-tmp")
            default = temporary + "/default.orbax-checkpoint-tmp"
            os.mkdir(default + "/d")
            data = os.urandom(400_000)
            fd = os.open(default + "/d/0123abcd", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
            os.writev(fd, [data[:10], data[10:]]); os.fsync(fd); os.close(fd); sync(default + "/d")
            for turn in range(2):
                name = default + "/manifest.ocdbt"
                fd = os.open(name + ".__lock", os.O_RDWR | os.O_CREAT, 0o666)
                fcntl.fcntl(fd, F_OFD_SETLKW, lock(fcntl.F_WRLCK))
                again = os.open(name + ".__lock", os.O_RDWR)
                check("identity", os.fstat(again).st_ino, os.fstat(fd).st_ino)
                check("locked", failing(lambda: fcntl.fcntl(again, F_OFD_SETLK, lock(fcntl.F_WRLCK))), "EAGAIN")
                os.close(again)
                os.write(fd, b"manifest %d" % turn); os.fsync(fd)
                os.rename(name + ".__lock", name); sync(default)
                fcntl.fcntl(fd, F_OFD_SETLK, lock(fcntl.F_UNLCK)); os.close(fd)
                check("manifest", open(name, "rb").read(), b"manifest %d" % turn)
            held = os.open(default + "/d/0123abcd", os.O_RDONLY)
            open(default + "/commit_success.txt", "w").write("ok")
            os.rename(default, temporary + "/default"); sync(temporary)
            open(temporary + "/commit_success.txt", "w").write("ok")
            os.rename(temporary, "1"); sync(".")
            check("through an old descriptor", os.pread(held, 1 << 20, 0), data)
            check("tree", sorted(path + "/" + name for path, _, names in os.walk("1") for name in names),
                ["1/commit_success.txt", "1/default/commit_success.txt", "1/default/d/0123abcd", "1/default/manifest.ocdbt"])
            check("old name", failing(lambda: os.stat(temporary)), "ENOENT")
            """
        )
    }

    /// Shards, an index, the state last; rotation removes whole trees in the order of the directories' times.
    @Test(arguments: TreeKind.allCases) func trainer(kind: TreeKind) async throws {
        try await run(
            kind,
            """
            for step in [1, 2, 3]:
                name = f"checkpoint-{step}"
                os.makedirs(name)
                for shard in range(2):
                    fd = os.open(f"{name}/.tmp{shard}", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
                    os.ftruncate(fd, 100_000); os.write(fd, bytes([step]) * 100_000)
                    os.rename(f"{name}/.tmp{shard}", f"{name}/model-{shard}.safetensors"); os.close(fd)
                for file in ["model.safetensors.index.json", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"]:
                    open(f"{name}/{file}", "w").write(file)
            before = [os.stat(f"checkpoint-{step}").st_mtime_ns for step in [1, 2, 3]]
            check("order of times", before, sorted(set(before)))
            open("checkpoint-2/trainer_state.json", "a").write("more")
            check("writing is no change of a directory", os.stat("checkpoint-2").st_mtime_ns, before[1])
            oldest = sorted(os.listdir("."), key=lambda name: os.stat(name).st_mtime_ns)[0]
            check("oldest", oldest, "checkpoint-1")
            shutil.rmtree(oldest, ignore_errors=True)
            check("left", sorted(os.listdir(".")), ["checkpoint-2", "checkpoint-3"])
            """
        )
    }

    /// A move from another filesystem: the content by sendfile(2), then times, attributes and modes; `last.ckpt` is a link.
    @Test(arguments: TreeKind.allCases) func lightning(kind: TreeKind) async throws {
        try await run(
            kind,
            """
            source = local + "/tmpfile"
            data = os.urandom(3_000_003)
            open(source, "wb").write(data)
            os.utime(source, ns=(1_600_000_000_123_456_789, 1_500_000_000_987_654_321))
            for turn in range(2):
                check("across", failing(lambda: os.rename(source, "epoch.ckpt")), "EXDEV")
                shutil.copyfile(source, "epoch.ckpt")
                shutil.copystat(source, "epoch.ckpt")
                os.chmod("epoch.ckpt", 0o644); os.listxattr("epoch.ckpt")
                check("content", open("epoch.ckpt", "rb").read(), data)
                check("time", os.stat("epoch.ckpt").st_mtime_ns, 1_500_000_000_987_654_321)
                check("access", os.stat("epoch.ckpt").st_atime_ns, os.stat(source).st_atime_ns)
                if os.path.lexists("last.ckpt"): os.unlink("last.ckpt")
                os.symlink("epoch.ckpt", "last.ckpt")
                check("link", os.readlink("last.ckpt"), "epoch.ckpt")
                check("through it", open("last.ckpt", "rb").read(), data)
            with open(source, "rb") as a, open("sent", "wb") as b:
                sent = 0
                while sent < len(data): sent += os.sendfile(b.fileno(), a.fileno(), sent, len(data) - sent)
            check("sendfile", open("sent", "rb").read(), data)
            """
        )
    }

    /// Locks without a byte, which their owners find out to be gone.
    @Test(arguments: TreeKind.allCases) func filelock(kind: TreeKind) async throws {
        try await run(
            kind,
            """
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_NONBLOCK
            fd = os.open("model.lock", flags, 0o644)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            check("links", os.fstat(fd).st_nlink, 1)
            check("again", failing(lambda: os.open("model.lock", flags, 0o644)), "EEXIST")
            other = "import os, fcntl; fcntl.flock(os.open('model.lock', os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)"
            check("another process", b"BlockingIOError" in subprocess.run([sys.executable, "-c", other], capture_output=True).stderr, True)
            os.unlink("model.lock")
            check("links", os.fstat(fd).st_nlink, 0)
            check("locks apart", failing(lambda: fcntl.flock(os.open("model.lock", flags, 0o644), fcntl.LOCK_EX | fcntl.LOCK_NB)), "OK")
            fcntl.flock(fd, fcntl.LOCK_UN); os.close(fd)
            check("size", os.stat("model.lock").st_size, 0)
            """
        )
    }

    /// `hf download` and pointer files: sequential into a temporary name, renamed, linked relatively; rewritten in place.
    @Test(arguments: TreeKind.allCases) func downloadsAndPointers(kind: TreeKind) async throws {
        try await run(
            kind,
            """
            os.makedirs("blobs"); os.makedirs("snapshots/abc"); os.makedirs("refs")
            data = os.urandom(2_500_000)
            with open("blobs/etag.12345678.incomplete", "wb") as file:
                for start in range(0, len(data), 1 << 16): file.write(data[start:start + (1 << 16)])
            os.replace("blobs/etag.12345678.incomplete", "blobs/etag")
            os.symlink("../../blobs/etag", "snapshots/abc/model.bin")
            check("through the link", open("snapshots/abc/model.bin", "rb").read(), data)
            for commit in ["one", "two, longer", "3"]:
                open("refs/tmp", "w").write(commit); os.replace("refs/tmp", "refs/main")
                check("ref", open("refs/main").read(), commit)
                open("latest.txt", "w").write(commit)
                check("pointer", open("latest.txt").read(), commit)
            """
        )
    }
}
