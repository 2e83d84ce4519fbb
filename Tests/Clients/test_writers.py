"""Programs that nobody wrote for a bucket, writing through a mount: what they wrote reads back from a second mount.

Each program writes into a writable mount, and where its output is the same each time also into a directory of the disk.
When `penstock flush` has returned, a mount that only reads must show every byte; when the first mount has ended, the
bucket must hold these files and no other name, and a second writable mount, with a staging directory of its own, must
show the same files, modes and links. (Directories that hold nothing are not in a bucket.)
"""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

import emulated_hub
import fetch_minilm
import programs

ROOT = pathlib.Path(__file__).resolve().parents[2]
#: The pinned clients; safetensors writes beside the file, and renames.
CLIENTS = ROOT / ".venv-clients" / "bin" / "python"
#: Debian's PyTorch.
TORCH = ROOT / ".venv-torch" / "bin" / "python"
#: Orbax; and an older safetensors, which writes in place.
WRITERS = ROOT / ".venv-writers" / "bin" / "python"
BUCKET = "written"


def run(*command, **options) -> str:
    """Runs a program to its end, which must be a good one; what it printed."""
    words = [str(word) for word in command]
    environment = dict(os.environ, **options.pop("variables", {}))
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, **options)
    assert done.returncode == 0, f"{' '.join(words)[:200]} ended with {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout


def python(interpreter: pathlib.Path, program: str, *arguments, **variables) -> str:
    assert interpreter.exists(), f"{interpreter} is missing: run `make setup`"
    return run(interpreter, "-c", program, *arguments, variables=variables)


def tree(directory: pathlib.Path, with_modes: bool = True) -> dict:
    """Every file below a directory with its mode, size and hash, and every link with its target."""
    found = {}
    for path, directories, files in os.walk(directory):
        for name in directories + files:
            whole = pathlib.Path(path, name)
            status = whole.lstat()
            shown = str(whole.relative_to(directory))
            if stat.S_ISLNK(status.st_mode):
                found[shown] = ("link", os.readlink(whole))
            elif stat.S_ISREG(status.st_mode):
                content = whole.read_bytes()
                assert len(content) == status.st_size, f"{shown} has another size than bytes"
                mode = [oct(stat.S_IMODE(status.st_mode))] if with_modes else []
                found[shown] = ("file", *mode, len(content), hashlib.sha256(content).hexdigest())
    return found


def without_modes(files: dict) -> dict:
    return {name: (entry if entry[0] == "link" else ("file", *entry[2:])) for name, entry in files.items()}


class Prefix:
    """A prefix of the bucket, and the mounts of it."""

    def __init__(self, hub: emulated_hub.Hub, scratch: pathlib.Path, name: str):
        self.hub, self.scratch, self.name = hub, scratch, name
        self.source = f"gs://{BUCKET}/{name}"
        #: The same programs write here, on a disk.
        self.local = scratch / "local"
        self.local.mkdir()

    def writing(self, which: str = "first"):
        """A mount to write to, with a staging directory of its own."""
        options = ["--profile", "checkpoint", "--staging-dir", str(self.scratch / f"staging-{which}")]
        return programs.mounted(self.hub, self.source, self.scratch / which, *options)

    def serving(self):
        """A mount that only reads."""
        return programs.mounted(self.hub, self.source, self.scratch / "serving")

    def names(self) -> list[str]:
        """What a listing of the bucket shows below the prefix, Penstock's own names too."""
        url = f"{self.hub.storage}/storage/v1/b/{BUCKET}/o?prefix={self.name}/"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=30) as reply:
            page = json.load(reply)
        assert "nextPageToken" not in page, "more names than these tests are made for"
        return [item["name"].removeprefix(f"{self.name}/") for item in page.get("items", [])]

    def shows_while_written(self, mount: pathlib.Path, expected: dict) -> None:
        """When a flush has returned, a mount of another machine shows each file, byte by byte.

        What was removed may still stand in the bucket for its grace.
        """
        programs.penstock(self.hub, "flush", str(mount), "--timeout", "30s")
        with self.serving() as second:
            shown = tree(second, with_modes=False)
            for name, entry in without_modes(expected).items():
                assert shown.get(name) == entry, name

    def reads_back(self, expected: dict) -> None:
        """After the mount's end: the bucket has these names and no other, and mounts show what was written."""
        names = self.names()
        records = {name for name in names if name.startswith(".penstock/checkpoints/") and name.endswith("/record.json")}
        # A record for each checkpoint whose trainer has said that it is done, and none for what it has removed.
        assert records <= {f".penstock/checkpoints/{name.split('/')[0]}/record.json" for name in expected}
        assert sorted(set(names) - records) == sorted(expected)
        with self.serving() as second:
            assert tree(second, with_modes=False) == without_modes(expected)
        with self.writing("second") as second:
            assert tree(second) == expected


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    root = fetch_minilm.hub_root()
    with emulated_hub.serving(root, tmp_path_factory.mktemp("emulator"), "--bucket", BUCKET) as hub:
        yield hub


@pytest.fixture
def prefix(hub, tmp_path, request):
    return Prefix(hub, tmp_path, hashlib.sha256(request.node.name.encode()).hexdigest()[:12])


# Trainers.

#: Larger than the first part of an upload, 16 MiB.
SAFETENSORS_SAVE = """
import sys, numpy
from safetensors.numpy import save_file
numbers = numpy.random.default_rng(int(sys.argv[1]))
tensors = {f"layer.{n}": numbers.standard_normal((700 + n, 3000), dtype="float32") for n in range(3)}
for path in sys.argv[2:]: save_file(tensors, path, metadata={"format": "np"})
"""
SAFETENSORS_LOAD = """
import sys, numpy
from safetensors.numpy import load_file
numbers = numpy.random.default_rng(int(sys.argv[1]))
loaded = load_file(sys.argv[2])
assert len(loaded) == 3
for n in range(3):
    assert (loaded[f"layer.{n}"] == numbers.standard_normal((700 + n, 3000), dtype="float32")).all()
print("equal")
"""


@pytest.mark.parametrize(("interpreter", "mode"), [(CLIENTS, 0o600), (WRITERS, 0o644)], ids=["renamed", "in place"])
def test_safetensors(prefix, interpreter, mode):
    name = "model.safetensors"
    with prefix.writing() as mount:
        # Over an earlier one that is in the bucket already.
        for seed in (1, 2):
            python(interpreter, SAFETENSORS_SAVE, seed, mount / name, prefix.local / name)
            # The file that is renamed was made with another mode: so both ways of writing are really here.
            assert stat.S_IMODE((prefix.local / name).stat().st_mode) == mode
            expected = tree(prefix.local)
            assert tree(mount) == expected
            prefix.shows_while_written(mount, expected)
    prefix.reads_back(expected)
    with prefix.serving() as second:
        assert python(interpreter, SAFETENSORS_LOAD, 2, second / name) == "equal\n"


TORCH_SAVE = """
import sys, torch
torch.manual_seed(5)
model = torch.nn.Sequential(torch.nn.Linear(900, 1500), torch.nn.Linear(1500, 900))
optimizer = torch.optim.Adam(model.parameters())
model(torch.randn(4, 900)).sum().backward()
optimizer.step()
for path in sys.argv[1:]:
    for step in (1, 2):
        torch.save({"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)
"""
TORCH_LOAD = """
import sys, torch
original, found = (torch.load(path, map_location="cpu") for path in sys.argv[1:])
assert found["step"] == 2 and len(found["model"]) == 4
for name, tensor in original["model"].items(): assert torch.equal(tensor, found["model"][name])
for number, state in original["optimizer"]["state"].items():
    for name, value in state.items(): assert torch.equal(value, found["optimizer"]["state"][number][name])
print("equal")
"""


def test_torch(prefix):
    with prefix.writing() as mount:
        python(TORCH, TORCH_SAVE, mount / "state.pt", prefix.local / "state.pt")
        # The archive inside is called after the file, so that the same names make the same bytes.
        expected = tree(prefix.local)
        assert tree(mount) == expected
        prefix.shows_while_written(mount, expected)
    prefix.reads_back(expected)
    with prefix.serving() as second:
        assert python(TORCH, TORCH_LOAD, prefix.local / "state.pt", second / "state.pt") == "equal\n"


ORBAX = """
import sys, numpy, jax
import orbax.checkpoint as ocp
directory, steps = sys.argv[1], [int(word) for word in sys.argv[2:]]
def state(step):
    weights = jax.numpy.arange(300_000, dtype="float32") * step
    return {"weights": weights, "bias": numpy.full((3, 5), step), "step": step}
manager = ocp.CheckpointManager(directory, options=ocp.CheckpointManagerOptions(max_to_keep=2, create=bool(steps)))
for step in steps:
    manager.save(step, args=ocp.args.StandardSave(state(step)))
manager.wait_until_finished()
for step in manager.all_steps():
    found, expected = manager.restore(step, args=ocp.args.StandardRestore(state(step))), state(step)
    assert found["step"] == step
    for name in ("weights", "bias"): assert numpy.array_equal(found[name], expected[name]), name
print(*sorted(manager.all_steps()))
manager.close()
"""


@contextlib.contextmanager
def watched(prefix: Prefix):
    """All names that listings of the bucket show meanwhile."""
    seen, ended, looks, failures = set(), threading.Event(), [], []

    def look():
        try:
            while not ended.is_set():
                seen.update(prefix.names())
                looks.append(time.monotonic())
                time.sleep(0.01)
        except Exception as failure:
            failures.append(failure)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join(timeout=60)
    assert not failures and len(looks) > 10, f"nobody looked: {failures}"


def test_orbax(prefix, hub):
    """Removes the oldest as it saves, and renames directories when they are whole; goes on from another mount."""
    with prefix.writing() as mount:
        with watched(prefix) as seen:
            assert python(WRITERS, ORBAX, mount, 1, 2, 3, 4, JAX_PLATFORMS="cpu") == "3 4\n"
            first = tree(mount)
            prefix.shows_while_written(mount, first)
        # Held back until they have their names: a reader of the bucket never sees half of a checkpoint as one.
        assert [name for name in seen if ".orbax-checkpoint-tmp" in name] == []
        assert any(name.startswith("4/") for name in seen)
    prefix.reads_back(first)
    with prefix.serving() as second:
        assert python(WRITERS, ORBAX, second, JAX_PLATFORMS="cpu") == "3 4\n"
    with prefix.writing("third") as third:
        assert python(WRITERS, ORBAX, third, 5, JAX_PLATFORMS="cpu") == "4 5\n"
        last = tree(third)
    assert programs.penstock(hub, "checkpoint", "latest", prefix.source, "--format", "name") == "5\n"
    assert {name for name in last if name.startswith("4/")} == {name for name in first if name.startswith("4/")}
    prefix.reads_back(last)


def test_hf_download(prefix, hub):
    variables = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(prefix.scratch / "home")}
    variables |= {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
    variables |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    download = [CLIENTS.with_name("hf"), "download", fetch_minilm.REPOSITORY, "--local-dir"]
    genuine = {path: expected for path, (_, expected) in fetch_minilm.FILES.items()}
    with prefix.writing() as mount:
        run(*download, mount / "model", variables=variables)
        expected = tree(mount)
        # What is not the model's is what hf keeps to find out later what it has: no file that it was still writing.
        others = {name for name in expected if name.removeprefix("model/") not in genuine}
        assert others and all(name.startswith("model/.cache/huggingface/") for name in others)
        assert not any(name.endswith(".incomplete") for name in others)
    prefix.reads_back(expected)
    with prefix.writing("third") as third:
        found = {path: fetch_minilm.hub_hash((third / "model" / path).read_bytes(), genuine[path]) for path in genuine}
        assert found == genuine
        # It finds its notes and the files, and fetches none of them.
        run(*download, third / "model", variables=variables)
        assert without_modes({name: entry for name, entry in tree(third).items() if name not in others}) == (
            without_modes({name: entry for name, entry in expected.items() if name not in others})
        )


# Everyday tools.


def plant(base: pathlib.Path, largest: int = (17 << 20) + 5) -> None:
    """Files of many sizes with modes and times of their own, odd names, and links, one to nowhere."""
    for number in range(40):
        directory = base / f"d{number % 7}" / f"e{number % 3}"
        directory.mkdir(parents=True, exist_ok=True)
        file = directory / f"file {number}.x"
        file.write_bytes(os.urandom(number * 997))
        file.chmod(0o600 + number % 8)
    (base / "d1" / "größer als ein Teil #1?.bin").write_bytes(os.urandom(largest))
    (base / "run.sh").write_text("#!/bin/sh\necho run\n")
    (base / "run.sh").chmod(0o755)
    (base / "link").symlink_to("d1/e1")
    (base / "gone").symlink_to("nowhere")
    for path, directories, files in os.walk(base, topdown=False):
        for number, name in enumerate(directories + files):
            moment = 1_600_000_000_123_456_789 + number * 1_000_000_000
            os.utime(os.path.join(path, name), ns=(moment, moment), follow_symlinks=False)


def times(directory: pathlib.Path) -> dict:
    """The time of every file below a directory."""
    return {
        str(path.relative_to(directory)): path.lstat().st_mtime_ns
        for path in directory.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def test_cp(prefix):
    plant(prefix.local)
    with prefix.writing() as mount:
        run("cp", "-a", f"{prefix.local}/.", mount)
        expected = tree(prefix.local)
        assert len(expected) == 44
        assert tree(mount) == expected
        assert times(mount) == times(prefix.local)
        prefix.shows_while_written(mount, expected)
    prefix.reads_back(expected)
    with prefix.writing("third") as third:
        assert times(third) == times(prefix.local)


def rsync(*arguments) -> str:
    assert shutil.which("rsync"), "rsync is missing: run `make setup`"
    return run("rsync", "-a", *arguments)


def test_rsync(prefix):
    """Writes each file under a name with a dot, and renames it when it is whole."""
    plant(prefix.local)
    with prefix.writing() as mount:
        rsync(f"{prefix.local}/", mount)
        expected = tree(prefix.local)
        assert tree(mount) == expected
        assert rsync("--itemize-changes", f"{prefix.local}/", mount) == ""
        deadline = time.monotonic() + 30
        while "run.sh" not in prefix.names():
            assert time.monotonic() < deadline, "nothing is uploaded"
            time.sleep(0.05)
        # Again, with other bytes in one file, one that is new, and one that went.
        (prefix.local / "run.sh").write_text("#!/bin/sh\necho other bytes\n")
        (prefix.local / "d0" / "new").write_text("new")
        (prefix.local / "d1" / "e1" / "file 1.x").unlink()
        rsync("--delete", f"{prefix.local}/", mount)
        expected = tree(prefix.local)
        assert tree(mount) == expected
        assert rsync("--delete", "--itemize-changes", f"{prefix.local}/", mount) == ""
    prefix.reads_back(expected)


def test_modes_and_times_of_what_is_published(prefix):
    """Set when the content is in the bucket already, as by rsync, which sets them after close(2)."""
    with prefix.writing() as mount:
        file = mount / "file"
        file.write_bytes(b"content")
        programs.penstock(prefix.hub, "flush", str(mount), "--timeout", "30s")
        file.chmod(0o751)
        os.utime(file, ns=(1_600_000_000_123_456_789,) * 2)
        expected, moments = tree(mount), times(mount)
        assert expected["file"][1] == "0o751" and moments == {"file": 1_600_000_000_123_456_789}
    with prefix.writing("second") as second:
        assert tree(second) == expected
        assert times(second) == moments


def test_links_on_a_mount_that_only_reads(prefix):
    """`last.ckpt` is a link, and so is each file of a snapshot in a cache of the Hub."""
    with prefix.writing() as mount:
        (mount / "epoch-3.ckpt").write_bytes(b"weights")
        (mount / "last.ckpt").symlink_to("epoch-3.ckpt")
    with prefix.serving() as second:
        assert (second / "last.ckpt").read_bytes() == b"weights"
        assert os.readlink(second / "last.ckpt") == "epoch-3.ckpt"


GIT = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b"}
GIT |= {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}


def test_git(prefix):
    variables = GIT | {"HOME": str(prefix.scratch)}

    def git(*arguments) -> str:
        return run("git", *arguments, variables=variables)

    origin = prefix.scratch / "origin"
    # git writes packs in pieces of 4 KiB, each a call that waits for its answer.
    plant(origin, largest=1 << 20)
    git("init", "-q", origin)
    git("-C", origin, "add", "-A")
    git("-C", origin, "commit", "-qm", "first")
    with prefix.writing() as mount:
        clone = mount / "clone"
        git("clone", "-q", "--no-local", origin, clone)
        git("-C", clone, "fsck", "--full", "--strict")
        assert git("-C", clone, "status", "--porcelain") == ""
        (clone / "run.sh").write_text("#!/bin/sh\necho second\n")
        git("-C", clone, "commit", "-qam", "second")
        git("-C", clone, "repack", "-adq")
        git("-C", clone, "fsck", "--full", "--strict")
        head = git("-C", clone, "rev-parse", "HEAD")
        expected = tree(mount)
    prefix.reads_back(expected)
    with prefix.serving() as second:
        git("-C", second / "clone", "fsck", "--full", "--strict")
        assert git("-C", second / "clone", "rev-parse", "HEAD") == head
    with prefix.writing("third") as third:
        clone = third / "clone"
        # Modes and links are part of what git compares.
        assert git("-C", clone, "status", "--porcelain") == ""
        git("-C", clone, "fsck", "--full", "--strict")
        assert len(git("-C", clone, "log", "--oneline").splitlines()) == 2


# A transaction that does not fit into the cache, so that pages of the database are written over before it is committed:
# what they held stands in the journal alone.
SQLITE = """
import sqlite3, sys, time
database = sqlite3.connect(sys.argv[1], isolation_level=None)
assert database.execute("PRAGMA journal_mode=DELETE").fetchone() == ("delete",)
database.execute("PRAGMA cache_size=10")
database.execute("PRAGMA synchronous=FULL")
if sys.argv[2] == "make":
    database.execute("CREATE TABLE numbers(n INTEGER PRIMARY KEY, text TEXT)")
    for start in range(0, 3000, 1000):
        database.execute("BEGIN")
        database.executemany("INSERT INTO numbers VALUES(?, ?)", ((n, str(n) * 40) for n in range(start, start + 1000)))
        database.execute("COMMIT")
elif sys.argv[2] == "change":
    database.execute("BEGIN IMMEDIATE")
    database.execute("UPDATE numbers SET text = 'changed' || text")
    print("in the middle", flush=True)
    time.sleep(60)
print(database.execute("PRAGMA integrity_check").fetchone()[0])
original = "text = replace(hex(zeroblob(20)), '00', n || n)"
print(*database.execute(f"SELECT count(*), sum({original}) FROM numbers").fetchone())
"""


def test_sqlite(prefix):
    """Killed in the middle of a transaction; a second mount, which gets all from the bucket, rolls it back."""
    whole = "ok\n3000 3000\n"
    with prefix.writing() as mount:
        assert python(CLIENTS, SQLITE, mount / "numbers.db", "make") == whole
        assert python(CLIENTS, SQLITE, prefix.local / "numbers.db", "make") == whole
        committed = tree(prefix.local)
        assert tree(mount) == committed
        prefix.shows_while_written(mount, committed)
        command = [str(CLIENTS), "-c", SQLITE, str(mount / "numbers.db"), "change"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "in the middle\n"
            process.kill()
        torn = tree(mount)
        # It was in the middle of it: pages are written over, and the journal has the old ones.
        assert torn["numbers.db"] != committed["numbers.db"]
        assert torn.keys() == {"numbers.db", "numbers.db-journal"}
    prefix.reads_back(torn)
    with prefix.writing("third") as third:
        assert python(CLIENTS, SQLITE, third / "numbers.db", "look") == whole
        # As it was before the transaction, byte by byte; and no journal.
        assert tree(third) == committed
    prefix.reads_back(committed)


def save_as_vim(file: pathlib.Path, text: bytes) -> None:
    """With 'writebackup' and 'backupcopy=no': a swap file, a probe, the old file aside, the new one, synced."""
    swap = file.with_name(f".{file.name}.swp")
    descriptor = os.open(swap, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    os.pwrite(descriptor, b"b0VIM 9.0" + b"\0" * 4087, 0)
    os.fsync(descriptor)
    probe = file.with_name("4913")
    os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o100644))
    probe.unlink()
    backup = file.with_name(file.name + "~")
    file.rename(backup)
    written = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(written, text)
    os.fsync(written)
    os.fchmod(written, 0o640)
    os.close(written)
    backup.unlink()
    os.close(descriptor)
    swap.unlink()


def write_synced(descriptor: int, text: bytes) -> None:
    os.write(descriptor, text)
    os.fsync(descriptor)
    os.close(descriptor)


def save_as_emacs(file: pathlib.Path, text: bytes) -> None:
    """A link to nowhere as a lock, the old file renamed to the backup that stays, the new one, synced."""
    lock = file.with_name(f".#{file.name}")
    lock.symlink_to("user@host.4711:1700000000")
    file.rename(file.with_name(file.name + "~"))
    write_synced(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), text)
    lock.unlink()


def save_as_nano(file: pathlib.Path, text: bytes) -> None:
    """A lock file beside it, then in place: cut to nothing and written anew."""
    lock = file.with_name(f".{file.name}.swp")
    lock.write_bytes(b"b0nano" + b"\0" * 1018)
    write_synced(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), text)
    lock.unlink()


def save_as_gnome(file: pathlib.Path, text: bytes) -> None:
    """GLib's g_file_replace: a temporary file with the old one's mode, synced, renamed over it."""
    temporary = file.with_name(".goutputstream-A1B2C3")
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    os.fchmod(descriptor, stat.S_IMODE(file.stat().st_mode))
    write_synced(descriptor, text)
    temporary.rename(file)


def save_with_sed(file: pathlib.Path, text: bytes) -> None:
    """sed -i is itself: it writes sedXXXXXX and renames it."""
    run("sed", "-i", "-e", f"1i {text.decode().splitlines()[0]}", file)


EDITORS = [save_as_vim, save_as_emacs, save_as_nano, save_as_gnome, save_with_sed]


def test_editors(prefix):
    """Each saves twice over a file that is in the bucket: as long as before, and longer. No aid of theirs stays."""
    with prefix.writing() as mount:
        for directory in (prefix.local, mount):
            for save in EDITORS:
                (directory / f"{save.__name__}.txt").write_bytes(b"first version\n")
        prefix.shows_while_written(mount, tree(prefix.local))
        for text in (b"other version\n", b"a longer version\n" * 3000):
            for directory in (prefix.local, mount):
                for save in EDITORS:
                    save(directory / f"{save.__name__}.txt", text)
            expected = tree(prefix.local)
            assert len(expected) == len(EDITORS) + 1, "one editor keeps its backup"
            assert tree(mount) == expected
            prefix.shows_while_written(mount, expected)
    prefix.reads_back(expected)
