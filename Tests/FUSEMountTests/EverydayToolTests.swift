import LinuxPlatform
import TestSupport
import Testing
import WriteBack

@testable import FUSEMount

/// Programs that nobody wrote for a bucket.
@Suite(.serialized) struct EverydayToolTests {
    private func run(_ kind: TreeKind, _ script: String) async throws {
        let rig = try WritableRig(kind)
        let said = try await rig.python(
            """
            def sh(*words, **more):
                done = subprocess.run(words, capture_output=True, text=True, **more)
                if done.returncode: print(f"{words}: {done.returncode}: {done.stderr}")
                return done.stdout
            def tree(base):
                found = []
                for path, directories, files in os.walk(base):
                    for name in directories + files:
                        one = os.lstat(os.path.join(path, name))
                        content = os.readlink(os.path.join(path, name)) if stat.S_ISLNK(one.st_mode) else \\
                            open(os.path.join(path, name), "rb").read() if stat.S_ISREG(one.st_mode) else None
                        time = one.st_mtime_ns
                        found.append((os.path.relpath(os.path.join(path, name), base), one.st_mode, one.st_uid, time, content))
                return sorted(found)
            def plant(base):
                for n in range(40):
                    os.makedirs(f"{base}/d{n % 7}/e{n % 3}", exist_ok=True)
                    open(f"{base}/d{n % 7}/e{n % 3}/f{n}", "wb").write(os.urandom(n * 997))
                    os.chmod(f"{base}/d{n % 7}/e{n % 3}/f{n}", 0o600 + n % 8)
                os.symlink("d1/e1", f"{base}/link"); os.symlink("nowhere", f"{base}/gone")
                for n, (path, _, files) in enumerate(os.walk(base, topdown=False)):
                    for name in files: os.utime(f"{path}/{name}", ns=(n, 1_600_000_000_000_000_000 + n), follow_symlinks=False)
                    os.utime(path, ns=(n, 1_500_000_000_123_456_789 + n))
            \(script)
            """
        )
        #expect(said == "")
        try await rig.finish()
    }

    @Test(arguments: TreeKind.allCases) func copiesKeepEverything(kind: TreeKind) async throws {
        try await run(
            kind,
            """
            plant(local + "/source")
            sh("cp", "-a", local + "/source", "copied")
            check("cp", tree("copied") == tree(local + "/source"), True)
            sh("tar", "-C", local + "/source", "--format=posix", "-cf", "all.tar", ".")
            os.mkdir("unpacked"); sh("tar", "-C", "unpacked", "-xpf", "all.tar")
            check("tar", tree("unpacked") == tree(local + "/source"), True)
            sh("mv", "unpacked", "moved")
            check("mv", tree("moved") == tree(local + "/source"), True)
            sh("rm", "-r", "copied", "moved", "all.tar")
            check("rm", os.listdir("."), [])
            """
        )
    }

    @Test(arguments: TreeKind.allCases) func gitClonesAndChecks(kind: TreeKind) async throws {
        try await run(
            kind,
            """
            plant(local + "/source")
            for key, value in {"HOME": root, "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b",
                "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}.items(): os.environ[key] = value
            sh("git", "init", "-q", local + "/source")
            sh("git", "-C", local + "/source", "add", "-A"); sh("git", "-C", local + "/source", "commit", "-qm", "all")
            sh("git", "clone", "-q", "--no-hardlinks", "--no-local", local + "/source", "clone")
            sh("git", "-C", "clone", "fsck", "--full", "--strict")
            check("clean", sh("git", "-C", "clone", "status", "--porcelain"), "")
            open("clone/new", "w").write("x")
            sh("git", "-C", "clone", "add", "new"); sh("git", "-C", "clone", "commit", "-qm", "new")
            sh("git", "-C", "clone", "gc", "-q")
            sh("git", "-C", "clone", "fsck", "--full", "--strict")
            check("commits", len(sh("git", "-C", "clone", "log", "--oneline").splitlines()), 2)
            """
        )
    }

    @Test(arguments: TreeKind.allCases, ["DELETE", "TRUNCATE", "PERSIST"])
    func sqliteCommitsAndRollsBack(kind: TreeKind, journal: String) async throws {
        try await run(
            kind,
            """
            import sqlite3
            base = sqlite3.connect("base.db")
            check("mode", base.execute("PRAGMA journal_mode=\(journal)").fetchone()[0], "\(journal.lowercased())")
            base.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, data BLOB)")
            for n in range(20):
                with base: base.executemany("INSERT INTO t (data) VALUES (?)", [(os.urandom(3000),) for _ in range(20)])
            try:
                with base: base.execute("DELETE FROM t"); raise KeyError
            except KeyError: pass
            other = sqlite3.connect("base.db")
            check("rows", other.execute("SELECT count(*) FROM t").fetchone()[0], 400)
            base.execute("BEGIN IMMEDIATE")
            other.execute("PRAGMA busy_timeout=0")
            try: other.execute("BEGIN IMMEDIATE"); print("two writers")
            except sqlite3.OperationalError: pass
            base.execute("ROLLBACK")
            check("whole", other.execute("PRAGMA integrity_check").fetchone()[0], "ok")
            """
        )
    }

    /// In place, by a new file that takes the name, and with a backup.
    @Test(arguments: TreeKind.allCases) func editorsSave(kind: TreeKind) async throws {
        try await run(
            kind,
            """
            open("config", "w").write("one two")
            sh("sed", "-i", "s/two/three/", "config")
            check("sed", open("config").read(), "one three")
            os.rename("config", "config~")
            with open("config", "w") as file: file.write("four"); file.flush(); os.fsync(file.fileno())
            os.chmod("config", stat.S_IMODE(os.stat("config~").st_mode)); os.unlink("config~")
            check("backup", (open("config").read(), os.listdir(".")), ("four", ["config"]))
            """
        )
    }

    /// Many processes at once, each in names of its own and all in one file and one directory.
    @Test(arguments: TreeKind.allCases) func manyProcessesAtOnce(kind: TreeKind) async throws {
        // Each round of write-back is a few synchronizations of this machine's disk.
        let rounds = 40
        try await run(
            kind,
            """
            child = '''
            import os, sys, random
            me, draw = sys.argv[1], random.Random(int(sys.argv[1]))
            os.mkdir("own" + me)
            for n in range(\(rounds)):
                name = f"own{me}/{n}"
                data = draw.randbytes(draw.randrange(30000))
                with open(name + ".tmp", "wb") as file: file.write(data); file.flush(); os.fsync(file.fileno())
                os.rename(name + ".tmp", name)
                assert open(name, "rb").read() == data
                os.symlink(name, f"link{me}-{n}"); os.listdir("."); os.unlink(f"link{me}-{n}")
                fd = os.open("shared", os.O_RDWR)
                os.pwrite(fd, me.encode() * 100, (n * 6 + int(me)) * 100)
                os.close(fd)
                try: os.close(os.open(f"race{n}", os.O_CREAT | os.O_EXCL)); os.write(1, b"w")
                except FileExistsError: pass
            '''
            open("shared", "w").close()
            children = [subprocess.Popen([sys.executable, "-c", child, str(n)], stdout=subprocess.PIPE) for n in range(6)]
            won = sum(len(child.communicate()[0]) for child in children)
            check("children", [child.returncode for child in children], [0] * 6)
            check("one creates each", won, \(rounds))
            check("shared", open("shared").read(), "".join(str(n) * 100 for n in range(6)) * \(rounds))
            check("names", len(os.listdir(".")), 6 + \(rounds) + 1)
            """
        )
    }
}
